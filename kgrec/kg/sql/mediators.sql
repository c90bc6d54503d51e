-- Mediators (CVT nodes) beside the frontier: nodes that are no topics, and only hold the parts of one fact together.
-- A mediator has no name, is not a common.topic, has types, and all of them are mediator types;
-- a mediator type is one whose nodes here have a name in fewer than $named_share of cases.
-- in: near(s, p, o), expanded(node), types(s, o), literals(s, p, o), naming(p)    out: mediators(node)
CREATE OR REPLACE TABLE mediators AS
WITH nodes AS (
    SELECT s AS node FROM near UNION SELECT o FROM near EXCEPT SELECT node FROM expanded
),
named AS (
    SELECT DISTINCT s AS node FROM literals WHERE p IN (SELECT p FROM naming) AND s IN (SELECT node FROM nodes)
),
typed AS (
    SELECT DISTINCT s AS node, o AS type FROM types
    WHERE s IN (SELECT node FROM nodes) AND o <> 'http://www.w3.org/2000/01/rdf-schema#Class'
),
mediator_types AS (
    SELECT type FROM typed
    GROUP BY type
    HAVING type <> 'common.topic' AND avg(CASE WHEN node IN (SELECT node FROM named) THEN 1 ELSE 0 END) < $named_share
)
SELECT node FROM typed
WHERE node NOT IN (SELECT node FROM named)
GROUP BY node
HAVING bool_and(type IN (SELECT type FROM mediator_types))
ORDER BY node;
