-- The items of a graph without a catalogue: linked entities, and the nodes made for items without a link.
-- in: read_links, read_triples    parameter: $prefix, of the ids of items without a link    out: listed(id, item_id, title)
CREATE OR REPLACE TABLE listed AS
WITH ids AS (
    SELECT head AS id FROM read_triples UNION SELECT tail FROM read_triples
)
SELECT entity_id AS id, item_id, NULL::VARCHAR AS title FROM read_links
UNION
SELECT id, id[len($prefix) + 1:], NULL FROM ids WHERE starts_with(id, $prefix)
ORDER BY id, item_id;
