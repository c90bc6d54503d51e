-- Number of facts of each node, of either end.
-- in: facts(h, r, t)    out: degrees(node, degree)
CREATE OR REPLACE TABLE degrees AS
SELECT node, count(*) AS degree FROM (SELECT h AS node FROM facts UNION ALL SELECT t FROM facts WHERE h <> t)
GROUP BY node
ORDER BY node;
