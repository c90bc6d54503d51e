-- Every node of a graph with its number, in the order of the ids.
-- in: read_triples, read_entities, listed(id, item_id, title)    out: nodes(node, id)
CREATE OR REPLACE TABLE nodes AS
SELECT (row_number() OVER (ORDER BY id) - 1)::INTEGER AS node, id
FROM (
    SELECT head AS id FROM read_triples UNION SELECT tail FROM read_triples
    UNION SELECT entity_id FROM read_entities UNION SELECT id FROM listed
)
ORDER BY node;
