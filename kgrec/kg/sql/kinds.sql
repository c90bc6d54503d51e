-- The type of each entity: of the types stated for it, the one most entities here have; without a stated type, the
-- Freebase type its relations belong to (the subject of film.director.film is a film.director).
-- in: types(s, o), wanted(node), stated(s, p, o), mirrors(r1, r2)    out: rows (node, type)
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
implied AS (
    SELECT DISTINCT node, regexp_extract(p, '^([a-z0-9_]+\.[a-z0-9_]+)\.[a-z0-9_]+$', 1) AS type, 1 AS place
    FROM roles
    WHERE node IN (SELECT node FROM wanted)
),
all_types AS (
    SELECT * FROM direct UNION ALL SELECT * FROM implied WHERE type <> '' AND NOT regexp_matches(type, '^(base|user)\.')
),
sizes AS (
    SELECT type, place, count(*) AS n FROM all_types GROUP BY ALL
),
ranked AS (
    SELECT node, type, row_number() OVER (PARTITION BY node ORDER BY place, n DESC, type) AS k
    FROM all_types JOIN sizes USING (type, place)
)
SELECT node, type FROM ranked WHERE k = 1
ORDER BY node;
