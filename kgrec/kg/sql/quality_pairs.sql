-- How many pairs of each relation another relation states too, the same way round or turned around. A relation that states
-- its own pairs turned around is its own inverse. Self loops do not count.
-- in: facts(h, r, t)    out: shared(r1, r2, inverse, pairs)
CREATE OR REPLACE TABLE shared AS
WITH stated AS (
    SELECT least(h, t) AS a, greatest(h, t) AS b, list({'r': r, 'forward': h < t}) AS facts FROM facts WHERE h <> t
    GROUP BY ALL
    HAVING count(*) > 1
),
one AS (
    SELECT facts, unnest(facts) AS x FROM stated
),
two AS (
    SELECT x, unnest(facts) AS y FROM one
)
SELECT x.r::VARCHAR AS r1, y.r::VARCHAR AS r2, x.forward <> y.forward AS inverse, count(*) AS pairs FROM two
WHERE x.r <> y.r OR x.forward <> y.forward
GROUP BY ALL
ORDER BY r1, r2, inverse;
