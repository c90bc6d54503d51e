-- Each relation's size and shape. Functionality is heads / triples: the harmonic mean of 1 / (tails of a head), 1 where a
-- head has one tail; the inverse is tails / triples.
-- in: facts(h, r, t), items(node)
SELECT r::VARCHAR AS relation, count(*) AS triples, count(DISTINCT h) AS heads, count(DISTINCT t) AS tails,
    count(DISTINCT h) / count(*) AS functionality, count(DISTINCT t) / count(*) AS inverse_functionality,
    avg((h IN (SELECT node FROM items) AND t IN (SELECT node FROM items))::INT) AS item_pairs
FROM facts
GROUP BY r
ORDER BY r;
