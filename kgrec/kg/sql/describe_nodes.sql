-- Each node with what is known of it, its degree (triples with it as head, plus those with it as tail), and its items.
-- in: triples(head, relation, tail), entities, links(item_id, entity_id)    out: nodes(id, name, description, type, degree, items)
CREATE TABLE nodes AS
WITH ends AS (
    SELECT head AS id FROM triples UNION ALL SELECT tail FROM triples
),
degrees AS (
    SELECT id, count(*) AS degree FROM ends GROUP BY id
),
items AS (
    SELECT entity_id AS id, list(item_id ORDER BY item_id) AS items FROM links GROUP BY entity_id
),
own AS (
    SELECT entity_id AS id, [substr(entity_id, 6)] AS items FROM entities WHERE starts_with(entity_id, 'item:')
)
SELECT id, name, description, type, coalesce(degree, 0) AS degree, coalesce(items.items, own.items, []) AS items
FROM (SELECT id FROM degrees UNION SELECT entity_id FROM entities UNION SELECT id FROM items)
LEFT JOIN entities ON entity_id = id
LEFT JOIN degrees USING (id)
LEFT JOIN items USING (id)
LEFT JOIN own USING (id)
ORDER BY id;
