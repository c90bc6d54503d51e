-- Drop the triples of entities that take part in fewer than $min_entity triples and are no items.
-- in: triples(h, r, t, source), items(node)    out: triples, in the same order
CREATE OR REPLACE TABLE triples AS
WITH degrees AS (
    SELECT node, count(*) AS n FROM (SELECT h AS node FROM triples UNION ALL SELECT t FROM triples) GROUP BY node
),
rare AS (
    SELECT node FROM degrees WHERE n < $min_entity AND node NOT IN (SELECT node FROM items)
)
SELECT h, r, t, source FROM triples
WHERE h NOT IN (SELECT node FROM rare) AND t NOT IN (SELECT node FROM rare)
ORDER BY h, r, t;
