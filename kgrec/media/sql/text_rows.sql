-- The parts of the texts: what the key brings along, and where in the file of texts stands what is said of it.
-- in: composed(key, own, place), said(place, begin, size, lang)    out: rows
SELECT key, own, begin, size, lang
FROM composed LEFT JOIN (SELECT place, begin, size, lang FROM said) USING (place)
WHERE own <> '' OR place IS NOT NULL
ORDER BY key;
