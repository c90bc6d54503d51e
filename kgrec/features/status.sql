-- The state of every key of a modality, from media(key, content), rows(key, content, encoder) and ledger(key, reason):
-- present, stale (detail: content, or the label of another encoder), missing (detail: the reason), orphan (a row whose
-- medium is gone; the key may be missing too). $label is the label or the name the settings mean, null if none.
CREATE OR REPLACE TEMP VIEW states AS
SELECT
    coalesce(media.key, rows.key) AS key,
    CASE
        WHEN media.key IS NULL THEN 'orphan'
        WHEN rows.key IS NULL THEN 'missing'
        WHEN media.content <> rows.content OR getvariable('label') IS NULL OR NOT current THEN 'stale'
        ELSE 'present'
    END AS state,
    CASE
        WHEN media.key IS NULL THEN 'its medium is gone'
        WHEN rows.key IS NULL THEN if(getvariable('label') IS NULL, 'no encoder', 'not encoded yet')
        WHEN media.content <> rows.content THEN 'content'
        WHEN getvariable('label') IS NULL OR NOT current THEN encoder
        ELSE ''
    END AS detail
FROM media
FULL OUTER JOIN (
    SELECT
        key, content, encoder,
        getvariable('label') IN (encoder, regexp_replace(encoder, '@[^@]*$', '')) AS current
    FROM rows
) AS rows ON media.key = rows.key
UNION ALL
SELECT key, 'missing', reason
FROM ledger
ORDER BY key, state;
