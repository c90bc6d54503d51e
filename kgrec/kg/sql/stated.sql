-- All facts as the sources state them, mediators' edges included.
-- in: near, star, raw    out: stated(s, p, o), distinct
CREATE OR REPLACE TABLE stated AS
SELECT s, p, o FROM near UNION SELECT s, p, o FROM star UNION SELECT h, r, t FROM raw
ORDER BY s, p, o;
