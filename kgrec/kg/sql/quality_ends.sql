-- The facts as seen from their items; a fact between two items is seen from both.
-- in: facts(h, r, t), items(node)    out: ends(r, item, other, forward)
CREATE OR REPLACE TABLE ends AS
SELECT r, h AS item, t AS other, true AS forward FROM facts WHERE h IN (SELECT node FROM items)
UNION ALL
SELECT r, t, h, false FROM facts WHERE t IN (SELECT node FROM items)
ORDER BY r, other, item;
