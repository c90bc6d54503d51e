-- Known inverse pairs take the place of what was detected for the same relations.
-- in: mirrors(r1, r2, pairs), known_mirrors(r1, r2), stated    out: mirrors(r1, r2, pairs)
CREATE OR REPLACE TABLE mirrors AS
WITH met AS (
    SELECT DISTINCT p FROM stated
),
known AS (
    SELECT k.r1, k.r2 FROM known_mirrors k WHERE k.r1 IN (SELECT p FROM met) OR k.r2 IN (SELECT p FROM met)
),
taken AS (
    SELECT r1 AS r FROM known UNION SELECT r2 FROM known
)
SELECT r1, r2, NULL AS pairs FROM known
UNION ALL
SELECT r1, r2, pairs FROM mirrors WHERE r1 NOT IN (SELECT r FROM taken) AND r2 NOT IN (SELECT r FROM taken)
ORDER BY r1, r2;
