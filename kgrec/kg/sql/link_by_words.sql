-- Pairs that share two words of their titles, if few entities have both.
-- in: link_item_words(item_id, word), link_entity_words(entity, word)    out: link_by_words(item_id, entity, kind, key, entities)
CREATE OR REPLACE TEMP TABLE link_by_words AS
WITH items AS (
    SELECT a.item_id, a.word || ' ' || b.word AS key
    FROM link_item_words a JOIN link_item_words b ON a.item_id = b.item_id AND a.word < b.word
),
named AS (
    SELECT a.entity, a.word || ' ' || b.word AS key
    FROM link_entity_words a JOIN link_entity_words b ON a.entity = b.entity AND a.word < b.word
    WHERE a.word || ' ' || b.word IN (SELECT key FROM items)
),
sizes AS (SELECT key, count(*) AS entities FROM named GROUP BY key HAVING count(*) <= $max_block)
SELECT item_id, entity, 'words' AS kind, key, entities
FROM items JOIN sizes USING (key) JOIN named USING (key)
ORDER BY item_id, entity, key;
