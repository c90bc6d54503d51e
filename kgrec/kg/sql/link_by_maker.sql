-- Pairs that share a director or author, and a word of their titles or nearly the year, if few entities are by the person.
-- in: link_item_keys(item_id, kind, key), link_item_words, link_entity_words, link_item_years, link_years, link_wanted,
--     link_predicates, facts, literals
-- out: link_by_maker(item_id, entity, kind, key, entities)
CREATE OR REPLACE TEMP TABLE link_by_maker AS
WITH called AS (
    SELECT DISTINCT s AS person, literal_person(o) AS key
    FROM literals
    WHERE p IN (SELECT p FROM link_predicates WHERE means = 'name') AND starts_with(o, '"') AND s IN (
        SELECT o FROM facts WHERE p IN (SELECT p FROM link_predicates WHERE means IN ('director>', 'writer>'))
        UNION
        SELECT s FROM facts WHERE p IN (SELECT p FROM link_predicates WHERE means IN ('director<', 'writer<'))
    )
),
people AS (SELECT person, key FROM called WHERE key IN (SELECT key FROM link_item_keys WHERE kind = 'maker')),
named AS (
    SELECT DISTINCT entity, key
    FROM (
        SELECT s AS entity, o AS person FROM facts
        WHERE p IN (SELECT p FROM link_predicates WHERE means IN ('director>', 'writer>')) AND o IN (SELECT person FROM people)
        UNION ALL
        SELECT o, s FROM facts
        WHERE p IN (SELECT p FROM link_predicates WHERE means IN ('director<', 'writer<')) AND s IN (SELECT person FROM people)
    ) JOIN people USING (person)
    WHERE entity IN (SELECT entity FROM link_wanted)
),
sizes AS (SELECT key, count(*) AS entities FROM named GROUP BY key HAVING count(*) <= $max_block),
pairs AS (
    SELECT item_id, entity, key, entities
    FROM link_item_keys JOIN sizes USING (key) JOIN named USING (key)
    WHERE kind = 'maker'
),
alike AS (
    SELECT item_id, entity
    FROM pairs JOIN link_item_words USING (item_id) JOIN link_entity_words USING (entity, word)
    UNION
    SELECT item_id, entity
    FROM pairs JOIN link_item_years i USING (item_id) JOIN link_years e USING (entity)
    WHERE abs(e.year - i.year) <= $tolerance
)
SELECT item_id, entity, 'maker' AS kind, key, entities
FROM pairs JOIN alike USING (item_id, entity)
ORDER BY item_id, entity, key;
