-- What other catalogues call the nodes of the graph; a node named by its Wikidata id has that too.
-- in: wanted(node, name, type, item), literals(s, p, o), key_patterns(kind, pattern), key_text(kind, p, o)
-- out: entity_keys(entity_id, kind, value)
CREATE OR REPLACE TEMP TABLE entity_keys AS
WITH predicates AS (
    SELECT DISTINCT kind, p
    FROM (SELECT DISTINCT p FROM literals) JOIN key_patterns ON p GLOB pattern
),
said AS (
    SELECT node AS entity_id, kind, key_text(kind, p, o) AS value
    FROM literals JOIN predicates USING (p) JOIN (SELECT node, code(node) AS code FROM wanted) ON s = code
)
SELECT DISTINCT * FROM (
    SELECT * FROM said WHERE value <> ''
    UNION ALL
    SELECT node, 'wikidata', regexp_replace(node, '^wd:', '') FROM wanted WHERE regexp_full_match(node, '(wd:)?Q[1-9][0-9]*')
);
