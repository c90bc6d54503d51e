-- Pairs of item and entity, one row per key they share, with the number of entities that have the key.
-- in: link_item_keys(item_id, kind, key), link_item_years(item_id, year), link_titles(entity, form, part), link_wanted,
--     link_predicates, facts, literals
-- out: link_shared(item_id, entity, kind, key, entities)
CREATE OR REPLACE TEMP TABLE link_years AS
SELECT DISTINCT s AS entity, try_cast(regexp_extract(o, '^"(-?[0-9]{4})', 1) AS SMALLINT) AS year
FROM literals
WHERE p IN (SELECT p FROM link_predicates WHERE means = 'date') AND s IN (SELECT entity FROM link_wanted)
ORDER BY entity, year;

CREATE OR REPLACE TEMP TABLE link_shared AS
WITH
-- ids, from whatever carries them up to the work
coded AS (
    SELECT s AS x, scheme_key(means, o) AS key
    FROM literals JOIN link_predicates USING (p)
    WHERE means IN ('imdb_id', 'tmdb_id', 'isbn', 'asin')
),
matched AS (SELECT DISTINCT item_id, key, x FROM coded JOIN link_item_keys USING (key) WHERE kind = 'id'),
edges AS (
    SELECT s AS work, o AS edition FROM facts WHERE p IN (SELECT p FROM link_predicates WHERE means = 'edition>')
    UNION
    SELECT o, s FROM facts WHERE p IN (SELECT p FROM link_predicates WHERE means = 'edition<')
),
once AS (SELECT item_id, key, work AS x FROM matched JOIN edges ON x = edition),
ids AS (
    SELECT item_id, x AS entity, 'id' AS kind, key FROM matched
    UNION
    SELECT item_id, x, 'id', key FROM once WHERE x IN (SELECT entity FROM link_wanted)
    UNION
    SELECT item_id, work, 'id', key FROM once JOIN edges ON x = edition WHERE work IN (SELECT entity FROM link_wanted)
),
-- titles, blanks left out, and their parts
titles AS (
    SELECT item_id, entity, 'title' AS kind, key
    FROM link_item_keys JOIN link_titles ON replace(key, ' ', '') = replace(form, ' ', '')
    WHERE kind = 'title' AND NOT part
),
parts AS (
    SELECT DISTINCT item_id, entity, 'part' AS kind, key
    FROM link_item_keys JOIN link_titles ON key = form
    WHERE (kind = 'part') <> part
),
-- words of titles, of the years about the item's
item_words AS (
    SELECT DISTINCT item_id, unnest(string_split(key, ' ')) AS word FROM link_item_keys WHERE kind IN ('title', 'part')
),
entity_words AS (
    SELECT DISTINCT entity, unnest(string_split(form, ' ')) AS word FROM link_titles
),
dated_items AS (
    SELECT item_id, word, unnest(range(year - $tolerance, year + $tolerance + 1)) AS year
    FROM item_words JOIN link_item_years USING (item_id)
    WHERE length(word) >= 4
),
dated_entities AS (
    SELECT DISTINCT entity, word, year
    FROM entity_words JOIN link_years USING (entity)
    WHERE word IN (SELECT word FROM item_words WHERE length(word) >= 4)
),
words AS (
    SELECT DISTINCT item_id, entity, 'word' AS kind, word AS key
    FROM dated_items JOIN dated_entities USING (word, year)
),
-- directors and authors
said AS (
    SELECT s AS entity, o AS person FROM facts
    WHERE p IN (SELECT p FROM link_predicates WHERE means IN ('director>', 'writer>')) AND s IN (SELECT entity FROM link_wanted)
    UNION
    SELECT o, s FROM facts
    WHERE p IN (SELECT p FROM link_predicates WHERE means IN ('director<', 'writer<')) AND o IN (SELECT entity FROM link_wanted)
),
called AS (
    SELECT DISTINCT s AS person, literal_person(o) AS key
    FROM literals
    WHERE p IN (SELECT p FROM link_predicates WHERE means = 'name') AND starts_with(o, '"') AND s IN (SELECT person FROM said)
),
made AS (
    SELECT DISTINCT item_id, entity, key
    FROM link_item_keys JOIN called USING (key) JOIN said USING (person)
    WHERE kind = 'maker'
),
makers AS (
    SELECT item_id, entity, 'maker' AS kind, key
    FROM made
    WHERE EXISTS (
        SELECT 1 FROM item_words JOIN entity_words USING (word)
        WHERE item_words.item_id = made.item_id AND entity_words.entity = made.entity
    ) OR EXISTS (
        SELECT 1 FROM link_item_years JOIN link_years ON abs(link_years.year - link_item_years.year) <= $tolerance
        WHERE link_item_years.item_id = made.item_id AND link_years.entity = made.entity
    )
),
shared AS (
    FROM ids UNION ALL FROM titles UNION ALL FROM parts UNION ALL FROM words UNION ALL FROM makers
),
sizes AS (SELECT kind, key, count(DISTINCT entity) AS entities FROM shared GROUP BY ALL)
SELECT item_id, entity, kind, key, entities
FROM shared JOIN sizes USING (kind, key)
ORDER BY item_id, entity, kind, key;
