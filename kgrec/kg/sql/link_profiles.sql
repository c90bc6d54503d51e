-- One row per entity asked for of which the store says anything, see kgrec.kg.profiles.PROFILES.
-- in: link_asked(entity), link_facts, link_people, link_ids, link_predicates, link_languages, types, literals
WITH said AS (
    SELECT s AS entity, o, means
    FROM literals JOIN link_predicates USING (p)
    WHERE means IN ('name', 'alias', 'date') AND s IN (SELECT entity FROM link_asked)
),
called AS (
    SELECT entity, literal_text(o) AS name, min(coalesce(link_languages.rank, 1000)) AS place, bool_and(means = 'alias') AS alias
    FROM (
        SELECT *, lower(regexp_extract(o, '"@([A-Za-z]+)[-A-Za-z0-9]*$', 1)) AS lang FROM said WHERE means <> 'date'
    ) LEFT JOIN link_languages USING (lang)
    GROUP BY 1, 2
),
names AS (
    -- a name before an alias, then the preferred language, then the smallest text
    SELECT entity, list(name ORDER BY alias, place, name) AS names FROM called WHERE name <> '' GROUP BY entity
),
years AS (
    SELECT entity, list_sort(list(DISTINCT year)) AS years
    FROM (SELECT entity, try_cast(regexp_extract(o, '^"(-?[0-9]{4})', 1) AS SMALLINT) AS year FROM said WHERE means = 'date')
    WHERE year IS NOT NULL
    GROUP BY entity
),
kinds AS (
    SELECT s AS entity, list_sort(list(DISTINCT o)) AS types FROM types WHERE s IN (SELECT entity FROM link_asked) GROUP BY s
),
ids AS (
    SELECT entity,
        list(id ORDER BY id) FILTER (scheme = 'imdb_id') AS imdb_id, list(id ORDER BY id) FILTER (scheme = 'tmdb_id') AS tmdb_id,
        list(id ORDER BY id) FILTER (scheme = 'isbn') AS isbn, list(id ORDER BY id) FILTER (scheme = 'asin') AS asin
    FROM link_ids
    GROUP BY entity
),
people AS (
    SELECT entity,
        list_sort(list(DISTINCT name) FILTER (role = 'director')) AS director,
        list_sort(list(DISTINCT name) FILTER (role = 'writer')) AS writer,
        list_sort(list(DISTINCT name) FILTER (role = 'actor')) AS actor
    FROM link_people
    GROUP BY entity
),
degrees AS (SELECT entity, count(*) AS degree FROM link_facts GROUP BY entity)
SELECT node(entity) AS entity_id, names[1] AS name, coalesce(names, []) AS names, coalesce(types, []) AS types,
    coalesce(years, []) AS years, coalesce(imdb_id, []) AS imdb_id, coalesce(tmdb_id, []) AS tmdb_id,
    coalesce(isbn, []) AS isbn, coalesce(asin, []) AS asin, coalesce(director, []) AS director,
    coalesce(writer, []) AS writer, coalesce(actor, []) AS actor, coalesce(degrees.degree, 0) AS degree
FROM link_asked
    LEFT JOIN names USING (entity) LEFT JOIN years USING (entity) LEFT JOIN kinds USING (entity) LEFT JOIN ids USING (entity)
    LEFT JOIN people USING (entity) LEFT JOIN degrees USING (entity)
WHERE coalesce(names, types, imdb_id, tmdb_id, isbn, asin) IS NOT NULL OR years IS NOT NULL OR degrees.degree IS NOT NULL
ORDER BY entity_id;
