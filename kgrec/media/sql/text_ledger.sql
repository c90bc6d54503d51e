-- One ledger row per key.
-- in: composed(key, of_item, own, place, source), said(place, origin, licence, expires), sources(source, name)    out: rows
SELECT
    key, 'text' AS modality,
    CASE WHEN own <> '' OR place IS NOT NULL THEN 'ok' ELSE 'missing' END AS status,
    CASE
        WHEN own <> '' OR place IS NOT NULL THEN ''
        WHEN of_item THEN 'no ' || replace($compose, '_', ' or ')
        ELSE 'no name'
    END AS reason,
    concat_ws(' + ', CASE WHEN own <> '' THEN if(of_item, 'title', 'name') END, coalesce(nullif(origin, ''), name)) AS source,
    coalesce(licence, '') AS licence, coalesce(expires, '') AS expires
FROM composed
LEFT JOIN sources USING (source)
LEFT JOIN (SELECT place, origin, licence, expires FROM said) USING (place)
ORDER BY key;
