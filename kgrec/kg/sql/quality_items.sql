-- How far each relation reaches into the catalogue: items that have it, items it joins to another item (they share its other
-- end, or are its two ends), and the part of the items that its commonest other end takes.
-- in: ends(r, item, other, forward), items(node)
WITH others AS (
    SELECT r, other, forward, count(*) AS n FROM ends GROUP BY ALL
),
joined AS (
    SELECT r, count(DISTINCT item) AS joined FROM ends JOIN others USING (r, other, forward)
    WHERE n > 1 OR other IN (SELECT node FROM items)
    GROUP BY r
),
reached AS (
    SELECT r, count(DISTINCT item) AS items FROM ends GROUP BY r
)
SELECT r::VARCHAR AS relation, items, coalesce(joined, 0) AS items_joined, max(n) AS items_of_top
FROM reached JOIN others USING (r) LEFT JOIN joined USING (r)
GROUP BY ALL
ORDER BY relation;
