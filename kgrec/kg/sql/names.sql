-- One name and one description per entity, as RDF literals: the language listed first wins, then the smallest text.
-- in: labels(s, kind, o), wanted(node), languages(lang, place)    out: names(node, kind, literal)
CREATE OR REPLACE TABLE names AS
WITH spoken AS (
    SELECT DISTINCT s AS node, kind, o AS literal, lower(regexp_extract(o, '"@([A-Za-z]+)(-[A-Za-z0-9]+)*$', 1)) AS lang
    FROM labels
    WHERE s IN (SELECT node FROM wanted)
),
ranked AS (
    SELECT node, kind, literal,
        row_number() OVER (PARTITION BY node, kind ORDER BY place, literal) AS n
    FROM spoken JOIN languages USING (lang)
)
SELECT node, kind, literal FROM ranked WHERE n = 1
ORDER BY node, kind;
