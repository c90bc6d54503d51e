-- The type of each entity, by the first of these that says something; among several types, the one most entities here have:
-- 0 the types stated for it; 1 the Freebase types its relations belong to (the subject of film.director.film is a
-- film.director); 2 the same for being nominated or awarded; 3 the types of the others on its side of its relations.
-- in: types(s, o), wanted(node), stated(s, p, o), mirrors(r1, r2), triples(h, r, t, source)    out: kinds(node, type)
CREATE OR REPLACE TABLE kinds AS
WITH direct AS (
    SELECT DISTINCT s AS node, o AS type, 0 AS place FROM types
    WHERE s IN (SELECT node FROM wanted) AND o <> 'common.topic' AND NOT regexp_matches(o, '^(base|user|freebase)\.')
),
partners AS (
    SELECT r1 AS p, r2 AS partner FROM mirrors UNION SELECT r2, r1 FROM mirrors
),
roles AS (
    SELECT s AS node, p FROM stated
    UNION ALL
    SELECT o, partner FROM stated JOIN partners USING (p)
),
belongs AS (
    SELECT DISTINCT node, regexp_extract(p, '^([a-z0-9_]+\.[a-z0-9_]+)\.[a-z0-9_]+$', 1) AS type
    FROM roles
    WHERE node IN (SELECT node FROM wanted)
),
own AS (
    SELECT * FROM direct
    UNION ALL
    SELECT node, type, CASE WHEN regexp_matches(type, '^award\.award_(nomin|win)') THEN 2 ELSE 1 END FROM belongs
    WHERE type <> '' AND NOT regexp_matches(type, '^(base|user)\.')
),
sides AS (
    SELECT DISTINCT h AS node, r AS side FROM triples UNION SELECT t, r || '^-1' FROM triples
),
by_side AS (
    SELECT side, type, count(*) AS n FROM sides JOIN own USING (node) WHERE place < 2
    GROUP BY side, type
    QUALIFY row_number() OVER (PARTITION BY side ORDER BY count(*) DESC, type) = 1
),
every AS (
    SELECT * FROM own UNION SELECT node, type, 3 FROM sides JOIN by_side USING (side)
),
sizes AS (
    SELECT type, place, count(*) AS n FROM every GROUP BY type, place
)
SELECT node, type FROM every JOIN sizes USING (type, place)
QUALIFY row_number() OVER (PARTITION BY node ORDER BY place, n DESC, type) = 1
ORDER BY node;
