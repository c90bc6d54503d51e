-- Pairs that share a word of their titles and nearly the year, if few entities have both.
-- in: link_item_words(item_id, word), link_entity_words(entity, word), link_item_years(item_id, year), link_years(entity, year)
-- out: link_by_word(item_id, entity, kind, key, entities)
CREATE OR REPLACE TEMP TABLE link_by_word AS
WITH named AS (
    SELECT entity, word, year
    FROM link_entity_words JOIN link_years USING (entity)
    WHERE year IS NOT NULL
),
sizes AS (SELECT word, year, count(*) AS entities FROM named GROUP BY ALL HAVING count(*) <= $max_word_block),
items AS (
    SELECT item_id, word, unnest(range(year - $tolerance, year + $tolerance + 1)) AS year
    FROM link_item_words JOIN link_item_years USING (item_id)
)
SELECT DISTINCT item_id, entity, 'word' AS kind, word AS key, entities
FROM items JOIN sizes USING (word, year) JOIN named USING (word, year)
ORDER BY item_id, entity, key, entities;
