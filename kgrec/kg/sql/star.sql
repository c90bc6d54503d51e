-- The facts of each mediator, read from the store.
-- in: stated_facts(s, p, o), mediators(node)    out: star(s, p, o, copies), distinct s, p, o
CREATE OR REPLACE TABLE star AS
SELECT s, p, o, count(*) AS copies
FROM stated_facts
WHERE s IN (SELECT node FROM mediators) OR o IN (SELECT node FROM mediators)
GROUP BY s, p, o
ORDER BY s, p, o;
