-- The facts of each mediator, read from the store.
-- in: facts(s, p, o), mediators(node)    out: star(s, p, o), distinct
CREATE OR REPLACE TABLE star AS
SELECT DISTINCT s, p, o
FROM facts
WHERE s IN (SELECT node FROM mediators) OR o IN (SELECT node FROM mediators)
ORDER BY s, p, o;
