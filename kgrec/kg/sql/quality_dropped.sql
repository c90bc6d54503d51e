-- How many facts of each relation go with the nodes of through.
-- in: through(node, pattern, reason), near(s, p, o, copies), star(s, p, o, copies), raw(h, r, t, source)
-- out: rows (relation, facts, pattern, reason)
WITH facts AS (
    SELECT s, p, o FROM near UNION SELECT s, p, o FROM star UNION SELECT h, r, t FROM raw
),
gone AS (
    SELECT s, p, o, pattern, reason FROM facts JOIN through ON s = node
    UNION
    SELECT s, p, o, pattern, reason FROM facts JOIN through ON o = node
),
once AS (
    SELECT * FROM gone QUALIFY row_number() OVER (PARTITION BY s, p, o ORDER BY pattern) = 1
)
SELECT p AS relation, count(*) AS facts, pattern, reason FROM once
GROUP BY ALL
ORDER BY relation, pattern;
