-- Each relation with its counts, how many items stand at one of its ends, and an example: named ends first, then a well-known head.
-- in: triples(head, relation, tail), nodes    out: rows, most triples first
WITH ends AS (
    SELECT DISTINCT relation, id FROM (SELECT relation, head AS id FROM triples UNION ALL SELECT relation, tail FROM triples)
),
reached AS (
    SELECT relation, count(*) AS items FROM ends JOIN nodes USING (id) WHERE len(nodes.items) > 0 GROUP BY relation
),
counted AS (
    SELECT relation, count(*) AS triples, count(DISTINCT head) AS heads, count(DISTINCT tail) AS tails
    FROM triples
    GROUP BY relation
),
examples AS (
    SELECT relation, coalesce(h.name, h.id) AS example_head, coalesce(t.name, t.id) AS example_tail
    FROM triples JOIN nodes AS h ON h.id = head JOIN nodes AS t ON t.id = tail
    QUALIFY row_number() OVER (
        PARTITION BY relation ORDER BY h.name IS NULL OR t.name IS NULL, h.degree DESC, h.id, t.degree DESC, t.id
    ) = 1
)
SELECT relation, triples, heads, tails, coalesce(items, 0) AS items, example_head, example_tail
FROM counted JOIN examples USING (relation) LEFT JOIN reached USING (relation)
ORDER BY triples DESC, relation;
