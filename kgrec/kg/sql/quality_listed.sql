-- The items of a graph by the numbers of their nodes.
-- in: listed(id, item_id, title), nodes(node, id)    out: items(node, item_id, title)
CREATE OR REPLACE TABLE items AS
SELECT node, item_id, title FROM listed JOIN nodes USING (id)
ORDER BY node, item_id;
