-- Awards and ceremonies by the audience's vote, told by a name in any language; an item is never one.
-- in: labels(s, kind, o), given(node, name, type), near, star, raw, items(node), voted_names(pattern, reason)
-- out: voted(node, name, pattern, reason), one row per node
CREATE OR REPLACE TABLE voted AS
WITH nodes AS (
    (SELECT s AS node FROM near UNION SELECT o FROM near UNION SELECT s FROM star UNION SELECT o FROM star
    UNION SELECT h FROM raw UNION SELECT t FROM raw)
    EXCEPT SELECT node FROM items
),
names AS (
    SELECT s AS node, regexp_extract(o, '^"(.*)"', 1) AS name FROM labels WHERE kind = 'name' AND s IN (SELECT node FROM nodes)
    UNION
    SELECT node, name FROM given WHERE name IS NOT NULL AND node IN (SELECT node FROM nodes)
)
SELECT node, name, pattern, reason
FROM names JOIN voted_names ON replace(replace(lower(name), '’', ''''), '\u2019', '''') GLOB pattern
QUALIFY row_number() OVER (PARTITION BY node ORDER BY pattern, name) = 1
ORDER BY node;
