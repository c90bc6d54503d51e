-- Types stated for the known nodes.
-- in: types(s, o) of the store, known_nodes(node, code)    out: types_here(s, o)
CREATE TABLE types_here AS
SELECT node AS s, o FROM types JOIN known_nodes ON s = code
ORDER BY ALL;
