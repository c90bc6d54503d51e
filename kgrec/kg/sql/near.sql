-- Facts with an end in the frontier, read from the store of a dump.
-- in: facts(s, p, o), frontier(node)    out: near(s, p, o), distinct
CREATE OR REPLACE TABLE near AS
SELECT DISTINCT s, p, o
FROM facts
WHERE s IN (SELECT node FROM frontier) OR o IN (SELECT node FROM frontier)
ORDER BY s, p, o;
