-- Facts of one node, grouped by relation and direction; of each group the `$most` best-known neighbours.
-- in: triples(head, relation, tail), nodes, $node, $most    out: rows (outgoing, relation, total, id)
WITH facts AS (
    SELECT true AS outgoing, relation, tail AS id FROM triples WHERE head = $node
    UNION ALL
    SELECT false, relation, head FROM triples WHERE tail = $node
)
SELECT outgoing, relation, count(*) OVER (PARTITION BY outgoing, relation) AS total, id
FROM facts JOIN nodes USING (id)
QUALIFY row_number() OVER (PARTITION BY outgoing, relation ORDER BY name IS NULL, degree DESC, id) <= $most
ORDER BY outgoing DESC, relation, name IS NULL, degree DESC, id;
