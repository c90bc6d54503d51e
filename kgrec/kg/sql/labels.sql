-- Names and descriptions of the known nodes, as the dump writes them.
-- in: literals(s, p, o), known_nodes(node, code), name_predicates(p), description_predicates(p)    out: labels(s, kind, o)
CREATE TABLE labels AS
WITH kinds AS (
    SELECT p, 'name' AS kind FROM name_predicates UNION ALL SELECT p, 'description' FROM description_predicates
)
SELECT node AS s, kind, o FROM literals JOIN kinds USING (p) JOIN known_nodes ON s = code
ORDER BY ALL;
