-- The signature of a computed list of neighbours: facts that lead from items to items only, where at least half of the heads
-- have the same number of tails, three or more. No catalogue gives half of its films exactly ten of anything.
-- in: facts(h, r, t), items(node)    parameter: $support, least number of heads
WITH sizes AS (
    SELECT r, h, count(*) AS tails, bool_and(h IN (SELECT node FROM items) AND t IN (SELECT node FROM items)) AS inside
    FROM facts
    GROUP BY r, h
),
heads AS (
    SELECT r, tails, count(*) AS n, bool_and(inside) AS inside FROM sizes GROUP BY r, tails
),
whole AS (
    SELECT r, sum(n) AS heads, bool_and(inside) AS inside FROM heads GROUP BY r
)
SELECT r::VARCHAR AS relation, tails FROM heads JOIN whole USING (r)
WHERE whole.inside AND heads >= $support AND tails >= 3 AND n * 2 >= heads
QUALIFY row_number() OVER (PARTITION BY r ORDER BY n DESC, tails) = 1
ORDER BY relation;
