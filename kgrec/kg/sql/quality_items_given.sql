-- The items of a catalogue by the id they have in the graph.
-- in: read_items, read_links    parameter: $prefix, of the ids of items without a link    out: listed(id, item_id, title)
CREATE OR REPLACE TABLE listed AS
SELECT coalesce(entity_id, $prefix || i.item_id) AS id, i.item_id, title
FROM read_items i LEFT JOIN read_links USING (item_id)
ORDER BY id, i.item_id;
