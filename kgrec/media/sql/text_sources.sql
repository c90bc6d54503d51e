-- What each source says: keys, rows that repeat a key, keys that nothing bears.
-- in: said(source, key), own(key), sources(source, name)    out: rows
WITH keys AS (
    SELECT source, key, count(*) AS n FROM said GROUP BY source, key
)
SELECT
    source, count(keys.key) AS texts, coalesce(sum(n) - count(keys.key), 0) AS repeated,
    count(keys.key) FILTER (own.key IS NULL) AS unknown
FROM sources LEFT JOIN keys USING (source) LEFT JOIN own ON own.key = keys.key
GROUP BY source
ORDER BY source;
