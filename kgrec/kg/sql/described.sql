-- Each wanted node with its name and description as literals, the name it has otherwise, and its type.
-- in: wanted(node, name, type, item), names(node, kind, literal), kinds(node, type)
-- out: described(entity_id, literal, name, description, type)
CREATE OR REPLACE TABLE described AS
SELECT wanted.node AS entity_id, n.literal, wanted.name, d.literal AS description,
    coalesce(wanted.type, kinds.type, CASE WHEN item THEN 'item' END) AS type
FROM wanted
LEFT JOIN (SELECT node, literal FROM names WHERE kind = 'name') n USING (node)
LEFT JOIN (SELECT node, literal FROM names WHERE kind = 'description') d USING (node)
LEFT JOIN kinds USING (node)
ORDER BY entity_id;
