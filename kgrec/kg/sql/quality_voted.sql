-- Awards and ceremonies by the audience's vote, told by a name in any language; an item is never one.
-- in: spoken(node, name), items(node), voted_names(pattern, reason)    out: voted(node, name, pattern, reason), a row per node
CREATE OR REPLACE TABLE voted AS
SELECT node, name, pattern, reason
FROM spoken JOIN voted_names ON replace(replace(lower(name), '’', ''''), '\u2019', '''') GLOB pattern
WHERE node NOT IN (SELECT node FROM items)
QUALIFY row_number() OVER (PARTITION BY node ORDER BY pattern, name) = 1
ORDER BY node;
