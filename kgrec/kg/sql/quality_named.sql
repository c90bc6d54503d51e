-- The entities of a graph by the numbers of their nodes.
-- in: read_entities, nodes(node, id)    out: named(node, name, type)
CREATE OR REPLACE TABLE named AS
SELECT node, name, type FROM read_entities JOIN nodes ON id = entity_id
ORDER BY node, name, type;
