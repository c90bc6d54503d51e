-- How many nodes have a degree from `low` to `high`, both inclusive; the steps double: 0, 1, 2, 3–4, 5–8, 9–16 …
-- in: nodes    out: rows (low, high, nodes), lowest first
WITH steps AS (
    SELECT CASE WHEN degree < 2 THEN degree - 1 ELSE ceil(log2(degree))::BIGINT END AS step FROM nodes
)
SELECT
    CASE WHEN step < 1 THEN step + 1 ELSE (1 << (step - 1)::INT) + 1 END AS low,
    CASE WHEN step < 1 THEN step + 1 ELSE 1 << step::INT END AS high,
    count(*) AS nodes
FROM steps
GROUP BY step
ORDER BY low;
