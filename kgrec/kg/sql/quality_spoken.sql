-- Names, in every language, of the nodes gathered so far.
-- in: labels(s, kind, o), given(node, name, type), near, star, raw    out: spoken(node, name)
CREATE OR REPLACE TABLE spoken AS
WITH nodes AS (
    SELECT s AS node FROM near UNION SELECT o FROM near UNION SELECT s FROM star UNION SELECT o FROM star
    UNION SELECT h FROM raw UNION SELECT t FROM raw
)
SELECT s AS node, regexp_extract(o, '^"(.*)"', 1) AS name FROM labels WHERE kind = 'name' AND s IN (SELECT node FROM nodes)
UNION
SELECT node, name FROM given WHERE name IS NOT NULL AND node IN (SELECT node FROM nodes)
ORDER BY node, name;
