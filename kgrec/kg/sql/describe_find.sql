-- Nodes a person may mean, the ways of meaning one in order: by id or item:<item id>; by item id or name; by a word
-- beginning so in a name; by part of a name. Names whatever their case and accents.
-- in: nodes, $id, $text, $most    out: rows (id, way), best way only, best-known first
WITH spelt AS (
    SELECT id, degree, items, lower(strip_accents(name)) AS name, lower(strip_accents($text)) AS text FROM nodes
),
found AS (
    SELECT id, degree, CASE
        WHEN id = $id OR starts_with($text, 'item:') AND list_contains(items, substr($text, 6)) THEN 0
        WHEN list_contains(items, $text) OR name = text THEN 1
        WHEN contains(' ' || name, ' ' || text) THEN 2
        WHEN contains(name, text) THEN 3
    END AS way
    FROM spelt
)
SELECT id, way FROM found
WHERE way = (SELECT min(way) FROM found)
ORDER BY degree DESC, id
LIMIT $most;
