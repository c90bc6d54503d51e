-- Turn mirrored relations the way that starts at an item, and drop repeats and self loops.
-- Of a pair (r1, r2) the relation whose facts more often start at an item stays, r1 on a tie; of a relation that mirrors
-- itself each fact stays once, item first, else the smaller id first.
-- in: raw(h, r, t, source), mirrors(r1, r2), items(node)    out: triples(h, r, t, source), sources of a fact joined by +
CREATE OR REPLACE TABLE triples AS
WITH facing AS (
    SELECT r, t AS other, sum((h IN (SELECT node FROM items))::INT) - sum((t IN (SELECT node FROM items))::INT) AS n
    FROM (SELECT r, h, t FROM raw) GROUP BY ALL
),
heads AS (
    SELECT r, sum(n) AS n FROM facing GROUP BY r
),
turns AS (
    SELECT
        CASE WHEN coalesce(y.n, 0) - coalesce(x.n, 0) > 0 THEN r1 ELSE r2 END AS r,
        CASE WHEN coalesce(y.n, 0) - coalesce(x.n, 0) > 0 THEN r2 ELSE r1 END AS canonical
    FROM mirrors m LEFT JOIN heads x ON x.r = r1 LEFT JOIN heads y ON y.r = r2
    WHERE r1 <> r2
),
turned AS (
    SELECT
        CASE WHEN canonical IS NULL THEN h ELSE t END AS h, coalesce(canonical, r) AS r,
        CASE WHEN canonical IS NULL THEN t ELSE h END AS t, source
    FROM raw LEFT JOIN turns USING (r)
    WHERE h <> t
),
flips AS (
    SELECT h, r, t, source, r IN (SELECT r1 FROM mirrors WHERE r1 = r2)
        AND (t IN (SELECT node FROM items), h) > (h IN (SELECT node FROM items), t) AS flip
    FROM turned
)
SELECT
    CASE WHEN flip THEN t ELSE h END AS h, r, CASE WHEN flip THEN h ELSE t END AS t,
    string_agg(DISTINCT source, '+' ORDER BY source) AS source
FROM flips
GROUP BY ALL
ORDER BY h, r, t;
