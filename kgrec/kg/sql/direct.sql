-- Facts between two entities, and the collapsed ones, join the raw triples; in no order, what is written is sorted later.
-- in: near, mediators, collapsed    out: rows added to raw
INSERT INTO raw
SELECT s, p, o, 'rdf' FROM near
ANTI JOIN mediators AS m ON s = m.node
ANTI JOIN mediators AS n ON o = n.node
UNION ALL
SELECT h, r, t, 'rdf' FROM collapsed;
