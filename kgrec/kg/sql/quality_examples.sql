-- One fact of each relation in words: the first whose two ends have names, a head with few facts before one with many.
-- in: facts(h, r, t), named(node, name, type), degrees(node, degree)
WITH spoken AS (
    SELECT r, a.name AS head, b.name AS tail, degree, h, t
    FROM facts JOIN named a ON a.node = h JOIN named b ON b.node = t JOIN degrees d ON d.node = h
    WHERE a.name IS NOT NULL AND b.name IS NOT NULL
)
SELECT r::VARCHAR AS relation, head || ' → ' || tail AS example FROM spoken
QUALIFY row_number() OVER (PARTITION BY r ORDER BY degree DESC, h, t) = 1
ORDER BY relation;
