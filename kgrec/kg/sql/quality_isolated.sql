-- What the graph leaves alone: entities and items without a fact; items whose facts lead to no other item, neither directly
-- nor over one entity between; and items that others are reached from over hubs only, an entity beside $least items or more.
-- in: nodes(node, id), ends(r, item, other, forward), items(node, item_id, title), degrees(node, degree), named(node, name, type)
WITH every AS (
    SELECT node FROM named UNION SELECT node FROM items
),
others AS (
    SELECT other, count(DISTINCT item) AS n, other IN (SELECT node FROM items) AS inside FROM ends GROUP BY other
),
company AS (
    SELECT item AS node, bool_or(inside OR n < $least) AS close FROM ends JOIN others USING (other) WHERE n > 1 OR inside
    GROUP BY item
),
alone AS (
    SELECT node, 'no fact' AS kind FROM every WHERE node NOT IN (SELECT node FROM degrees)
    UNION ALL
    SELECT node, CASE WHEN close IS NULL THEN 'no other item' ELSE 'hubs only' END FROM items LEFT JOIN company USING (node)
    WHERE node IN (SELECT node FROM degrees) AND close IS DISTINCT FROM true
)
SELECT id AS entity_id, item_id, coalesce(name, title) AS name, type, kind, coalesce(degree, 0) AS degree
FROM alone JOIN nodes USING (node) LEFT JOIN items USING (node) LEFT JOIN named USING (node) LEFT JOIN degrees USING (node)
ORDER BY kind, entity_id;
