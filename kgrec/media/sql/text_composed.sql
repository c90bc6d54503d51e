-- What each key's text is made of: an item's of its title and the first text said of it, an entity's of the first text said
-- of it, else its name.
-- in: own(key, of_item, own), said(place, source, key)    out: composed(key, of_item, own, place, source); own is empty and
-- place null where that part is not used
CREATE OR REPLACE TABLE composed AS
WITH first AS (
    SELECT key, min(place) AS place, arg_min(source, place) AS source FROM said GROUP BY key
),
chosen AS (
    SELECT key, of_item, own, place, source, place IS NOT NULL AND NOT (of_item AND $compose = 'title') AS says
    FROM own LEFT JOIN first USING (key)
)
SELECT
    key, of_item,
    CASE WHEN of_item AND $compose = 'plot' OR NOT of_item AND says THEN '' ELSE own END AS own,
    CASE WHEN says THEN place END AS place,
    CASE WHEN says THEN source END AS source
FROM chosen
ORDER BY key;
