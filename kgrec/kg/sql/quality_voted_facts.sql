-- What is stated through voted awards: facts with such an end, and all facts of a mediator that holds one.
-- in: voted(node, name, pattern, reason), near(s, p, o, copies), star(s, p, o, copies), mediators(node), raw(h, r, t, source)
-- out: through(node, pattern, reason), one row per node whose facts go; the nodes of voted and mediators
CREATE OR REPLACE TABLE through AS
WITH ends AS (
    SELECT s AS mediator, o AS node FROM star WHERE s IN (SELECT node FROM mediators)
    UNION
    SELECT o, s FROM star WHERE o IN (SELECT node FROM mediators)
)
SELECT node, pattern, reason FROM voted
UNION
SELECT mediator, pattern, reason FROM ends JOIN voted USING (node)
QUALIFY row_number() OVER (PARTITION BY mediator ORDER BY pattern) = 1
ORDER BY node;
