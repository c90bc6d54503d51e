-- Nodes that get a row in entities.parquet, with the name and type known outside the dump.
-- in: triples(h, r, t, source), items(node, item_id, title), given(node, name, type)    out: wanted(node, name, type, item)
CREATE OR REPLACE TABLE wanted AS
WITH nodes AS (
    SELECT h AS node FROM triples UNION SELECT t FROM triples UNION SELECT node FROM items WHERE NOT starts_with(node, 'item:')
),
said AS (
    SELECT node, min(name) AS name, min(type) AS type FROM given GROUP BY node
)
SELECT node, coalesce(said.name, title) AS name, said.type AS type, item_id IS NOT NULL AS item
FROM nodes LEFT JOIN said USING (node) LEFT JOIN items USING (node)
ORDER BY node;
