-- Words of four letters or more in titles.
-- in: link_item_keys(item_id, kind, key), link_titles(entity, form, part)
-- out: link_item_words(item_id, word), link_entity_words(entity, word), only words that an item has
CREATE OR REPLACE TEMP TABLE link_item_words AS
SELECT DISTINCT item_id, word
FROM (SELECT item_id, unnest(string_split(key, ' ')) AS word FROM link_item_keys WHERE kind IN ('title', 'part'))
WHERE length(word) >= 4
ORDER BY word, item_id;

CREATE OR REPLACE TEMP TABLE link_entity_words AS
SELECT DISTINCT entity, word
FROM (SELECT entity, unnest(string_split(form, ' ')) AS word FROM link_titles WHERE NOT part)
WHERE word IN (SELECT word FROM link_item_words)
ORDER BY word, entity;
