-- Everything a picture or a text is wanted for, with what other catalogues call it. An entity that is linked to an item is
-- that item. Of several values of one kind the first counts; what the catalogue says of an item comes before its entity's.
-- in: items, links, entities, keys (views of the stages' tables)    out: key, title, year, kinds, ids
WITH linked AS (SELECT entity_id, min(item_id) AS item_id FROM links WHERE item_id IN (SELECT item_id FROM items) GROUP BY entity_id),
subjects AS (
    SELECT 'item:' || item_id AS key, title, year FROM items
    UNION ALL
    SELECT 'entity:' || entity_id, name, NULL FROM entities
    WHERE entity_id NOT IN (SELECT entity_id FROM links) AND NOT starts_with(entity_id, 'item:')
),
named AS (
    SELECT
        coalesce('item:' || item_id, 'entity:' || entity_id) AS key,
        CASE WHEN kind = 'wikipedia' THEN kind || '.' || split_part(value, ':', 1) ELSE kind END AS kind,
        CASE WHEN kind = 'wikipedia' THEN substr(value, instr(value, ':') + 1) ELSE value END AS id,
        1 AS rank
    FROM keys LEFT JOIN linked USING (entity_id)
    UNION ALL
    SELECT 'item:' || item_id, 'imdb', imdb_id, 0 FROM items WHERE imdb_id IS NOT NULL
    UNION ALL
    SELECT 'item:' || item_id, 'tmdb', tmdb_id, 0 FROM items WHERE tmdb_id IS NOT NULL
    UNION ALL
    SELECT 'item:' || item_id, 'isbn', isbn[1], 0 FROM items WHERE len(isbn) > 0
),
chosen AS (SELECT key, kind, arg_min(id, (rank, id)) AS id FROM named GROUP BY key, kind),
gathered AS (SELECT key, list(kind ORDER BY kind) AS kinds, list(id ORDER BY kind) AS ids FROM chosen GROUP BY key)
SELECT key, title, year, coalesce(kinds, []) AS kinds, coalesce(ids, []) AS ids
FROM subjects LEFT JOIN gathered USING (key)
ORDER BY key;
