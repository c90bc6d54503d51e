-- Hubs: entities, no items, beside at least $least items: what so many items share tells little of any one of them.
-- in: nodes(node, id), ends(r, item, other, forward), items(node), degrees(node, degree), named(node, name, type)
WITH beside AS (
    SELECT other AS node, count(DISTINCT item) AS items FROM ends WHERE other NOT IN (SELECT node FROM items)
    GROUP BY other
    HAVING count(DISTINCT item) >= $least
),
by_relation AS (
    SELECT other AS node, r AS relation, count(DISTINCT item) AS n FROM ends WHERE other IN (SELECT node FROM beside)
    GROUP BY other, r
    QUALIFY row_number() OVER (PARTITION BY other ORDER BY count(DISTINCT item) DESC, r) = 1
)
SELECT id AS entity_id, name, type, degree, items, items / (SELECT count(*) FROM items) AS item_share, relation::VARCHAR AS relation
FROM beside JOIN nodes USING (node) JOIN by_relation USING (node) JOIN degrees USING (node) LEFT JOIN named USING (node)
ORDER BY items DESC, entity_id;
