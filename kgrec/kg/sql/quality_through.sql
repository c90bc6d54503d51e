-- Facts with a voted award or ceremony at an end, each under one pattern; and how many facts of these relations lead to
-- something without a name, of which nobody can tell who votes.
-- in: facts(h, r, t), voted(node, name, pattern, reason), named(node, name, type)
WITH ends AS (
    SELECT h, r, t, pattern, reason FROM facts JOIN voted ON t = node
    UNION
    SELECT h, r, t, pattern, reason FROM facts JOIN voted ON h = node
),
once AS (
    SELECT * FROM ends QUALIFY row_number() OVER (PARTITION BY h, r, t ORDER BY pattern) = 1
),
nameless AS (
    SELECT r, count(*) AS unnamed FROM facts LEFT JOIN named ON t = node
    WHERE name IS NULL AND r IN (SELECT r FROM ends)
    GROUP BY r
)
SELECT r::VARCHAR AS relation, count(*) AS leaking, pattern, reason, coalesce(unnamed, 0) AS unnamed FROM once LEFT JOIN nameless USING (r)
GROUP BY ALL
ORDER BY relation, pattern;
