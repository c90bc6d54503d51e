-- Pairs of relations that state each fact from both ends: (h, r1, t) wherever (t, r2, h).
-- Two relations mirror each other when at least $share of each one's distinct pairs occur turned around in the other, at
-- least $support of them do, and neither has a better partner. A relation may mirror itself (spouse); then r1 = r2.
-- in: stated(s, p, o)    out: mirrors(r1, r2, pairs), r1 <= r2
CREATE OR REPLACE TABLE mirrors AS
WITH sizes AS (
    SELECT p, count(*) AS n FROM (SELECT DISTINCT s, p, o FROM stated) GROUP BY p
),
turned AS (
    SELECT a.p AS r1, b.p AS r2, count(*) AS pairs
    FROM (SELECT DISTINCT s, p, o FROM stated) a JOIN (SELECT DISTINCT s, p, o FROM stated) b ON a.s = b.o AND a.o = b.s
    WHERE a.s <> a.o
    GROUP BY ALL
),
shares AS (
    SELECT r1, r2, pairs, pairs / greatest(x.n, y.n) AS share
    FROM turned JOIN sizes x ON x.p = r1 JOIN sizes y ON y.p = r2
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY r1 ORDER BY share DESC, pairs DESC, r2) AS place FROM shares
)
SELECT a.r1, a.r2, a.pairs
FROM ranked a JOIN ranked b ON a.r1 = b.r2 AND a.r2 = b.r1
WHERE a.place = 1 AND b.place = 1 AND a.r1 <= a.r2 AND a.share >= $share AND a.pairs >= $support
ORDER BY a.r1, a.r2;
