-- Ids of the entities asked for in other catalogues, those of a book's editions and their ISBNs included.
-- in: link_asked(entity), link_predicates, facts, literals    out: link_ids(entity, scheme, id), id as the source spells it
CREATE OR REPLACE TEMP TABLE link_ids AS
WITH edges AS (
    SELECT s AS work, o AS edition FROM facts WHERE p IN (SELECT p FROM link_predicates WHERE means = 'edition>')
    UNION
    SELECT o, s FROM facts WHERE p IN (SELECT p FROM link_predicates WHERE means = 'edition<')
),
once AS (
    SELECT work AS entity, edition AS x FROM edges WHERE work IN (SELECT entity FROM link_asked)
),
carriers AS (
    SELECT entity, entity AS x FROM link_asked
    UNION
    SELECT entity, x FROM once
    UNION
    SELECT entity, edition FROM once JOIN edges ON work = x
)
SELECT DISTINCT entity, means AS scheme, literal_text(o) AS id
FROM literals JOIN link_predicates USING (p) JOIN carriers ON s = x
WHERE means IN ('imdb_id', 'tmdb_id', 'isbn', 'asin')
ORDER BY entity, scheme, id;
