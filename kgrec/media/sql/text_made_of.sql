-- How many keys have a text of which parts; no parts: no text.
-- in: composed(of_item, own, place, source), sources(source, name)    out: rows
SELECT of_item, concat_ws(' + ', CASE WHEN own <> '' THEN if(of_item, 'title', 'name') END, name) AS parts, count(*) AS n
FROM composed LEFT JOIN sources USING (source)
GROUP BY ALL
ORDER BY of_item, parts;
