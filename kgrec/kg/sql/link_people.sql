-- Who made the entities asked for: directors, writers and authors, actors, also those behind a mediator.
-- in: link_facts(entity, x, p, forward), link_predicates, link_languages, facts, literals
-- out: link_people(entity, role, person, name), a name in a preferred language
CREATE OR REPLACE TEMP TABLE link_people AS
WITH ends AS (
    SELECT DISTINCT entity, means[:-2] AS role, x
    FROM link_facts JOIN link_predicates USING (p)
    WHERE means IN ('director>', 'director<', 'writer>', 'writer<', 'actor>', 'actor<') AND forward = (means[-1:] = '>')
),
behind AS (
    SELECT s AS x, o AS person FROM facts
    WHERE p IN (SELECT p FROM link_predicates WHERE means = 'through>') AND s IN (SELECT x FROM ends)
    UNION
    SELECT o, s FROM facts
    WHERE p IN (SELECT p FROM link_predicates WHERE means = 'through<') AND o IN (SELECT x FROM ends)
),
people AS (
    SELECT DISTINCT entity, role, coalesce(person, x) AS person
    FROM ends LEFT JOIN behind USING (x)
),
spoken AS (
    SELECT s AS person, o, lower(regexp_extract(o, '"@([A-Za-z]+)[-A-Za-z0-9]*$', 1)) AS lang, link_predicates.rank AS kind
    FROM literals JOIN link_predicates USING (p)
    WHERE means = 'name' AND s IN (SELECT person FROM people)
),
named AS (
    SELECT person, o, row_number() OVER (PARTITION BY person ORDER BY link_languages.rank, kind, o) AS place
    FROM spoken JOIN link_languages USING (lang)
)
SELECT entity, role, person, literal_text(o) AS name
FROM people JOIN named USING (person)
WHERE place = 1
ORDER BY entity, role, name, person;
