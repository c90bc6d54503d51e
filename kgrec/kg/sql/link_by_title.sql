-- Pairs that share a form of their titles, blanks left out; or a form of one that is a part of the other, if few entities do.
-- in: link_item_keys(item_id, kind, key), link_titles(entity, form, part)    out: link_by_title(item_id, entity, kind, key, entities)
CREATE OR REPLACE TEMP TABLE link_by_title AS
WITH items AS (SELECT item_id, kind, replace(key, ' ', '') AS key FROM link_item_keys WHERE kind IN ('title', 'part')),
named AS (
    SELECT DISTINCT entity, replace(form, ' ', '') AS key, part
    FROM link_titles
    WHERE replace(form, ' ', '') IN (SELECT key FROM items)
),
sizes AS (SELECT key, part, count(*) AS entities FROM named GROUP BY ALL)
SELECT DISTINCT item_id, entity, CASE WHEN kind = 'part' OR part THEN 'part' ELSE 'title' END AS kind, key, entities
FROM items JOIN named USING (key) JOIN sizes USING (key, part)
WHERE (kind = 'title' AND NOT part) OR ((kind = 'part') <> part AND entities <= $max_block)
ORDER BY item_id, entity, kind, key;
