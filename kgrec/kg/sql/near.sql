-- Facts with an end in the frontier, read from the store of a dump.
-- in: stated_facts(s, p, o), frontier(node)    out: near(s, p, o, copies), distinct s, p, o
CREATE OR REPLACE TABLE near AS
SELECT s, p, o, count(*) AS copies
FROM stated_facts
WHERE s IN (SELECT node FROM frontier) OR o IN (SELECT node FROM frontier)
GROUP BY s, p, o
ORDER BY s, p, o;
