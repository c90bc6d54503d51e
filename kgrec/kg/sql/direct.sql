-- Facts between two entities, and the collapsed ones, join the raw triples.
-- in: near, mediators, collapsed    out: rows added to raw
INSERT INTO raw
SELECT s, p, o, 'rdf' FROM near
WHERE s NOT IN (SELECT node FROM mediators) AND o NOT IN (SELECT node FROM mediators)
UNION ALL
SELECT h, r, t, 'rdf' FROM collapsed
ORDER BY 1, 2, 3;
