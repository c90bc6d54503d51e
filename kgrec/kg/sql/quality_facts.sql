-- The facts of a graph by the numbers of their nodes, each once.
-- in: read_triples, nodes(node, id), type relation_name    out: facts(h, r, t)
CREATE OR REPLACE TABLE facts AS
SELECT DISTINCT a.node AS h, relation::relation_name AS r, b.node AS t
FROM read_triples JOIN nodes a ON a.id = head JOIN nodes b ON b.id = tail
ORDER BY h, r, t;
