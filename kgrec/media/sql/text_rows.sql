-- The composed texts, and beside each the text of its source alone, which its language is told by.
-- in: composed(key, own, place), said(place, text, lang)    out: rows
SELECT key, concat_ws($separator, nullif(own, ''), text) AS text, text AS said, lang
FROM composed LEFT JOIN (SELECT place, text, lang FROM said) USING (place)
WHERE own <> '' OR place IS NOT NULL
ORDER BY key;
