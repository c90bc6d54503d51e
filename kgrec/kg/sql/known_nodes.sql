-- Every node that may want a name or a type, with its code in the store.
-- in: near, star, raw, items    out: known_nodes(node, code)
CREATE TABLE known_nodes AS
SELECT node, code(node) AS code
FROM (
    SELECT s AS node FROM near UNION SELECT o FROM near UNION SELECT s FROM star UNION SELECT o FROM star
    UNION SELECT h FROM raw UNION SELECT t FROM raw UNION SELECT node FROM items
)
ORDER BY node;
