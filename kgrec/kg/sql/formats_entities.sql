-- Every node of a graph, with what is known of it.
-- in: triples(h, t), known(entity_id, name, description, type)    out: rows (entity_id, name, description, type)
SELECT node AS entity_id, name, description, type
FROM (SELECT h AS node FROM triples UNION SELECT t FROM triples UNION SELECT entity_id FROM known)
LEFT JOIN known ON entity_id = node
ORDER BY ALL;
