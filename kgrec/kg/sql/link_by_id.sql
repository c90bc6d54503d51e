-- Pairs that share an id elsewhere. The id of an edition, or of its ISBN, counts for the work and not for the edition, unless
-- the edition is wanted itself; what has an id and is no edition of anything counts whatever its type.
-- in: link_item_keys(item_id, kind, key), link_wanted, link_predicates, facts, literals
-- out: link_by_id(item_id, entity, kind, key, entities), entities: how many have the key
CREATE OR REPLACE TEMP TABLE link_by_id AS
WITH coded AS (
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
once AS (SELECT item_id, key, x AS carrier, work AS x FROM matched JOIN edges ON x = edition),
works AS (
    SELECT item_id, key, carrier, x AS entity FROM once WHERE x IN (SELECT entity FROM link_wanted)
    UNION
    SELECT item_id, key, carrier, work FROM once JOIN edges ON x = edition WHERE work IN (SELECT entity FROM link_wanted)
),
shared AS (
    SELECT item_id, entity, key FROM works
    UNION
    SELECT item_id, x, key FROM matched WHERE x IN (SELECT entity FROM link_wanted) OR x NOT IN (SELECT carrier FROM works)
)
SELECT item_id, entity, 'id' AS kind, key, count(*) OVER (PARTITION BY key) AS entities
FROM shared
ORDER BY item_id, entity, key;
