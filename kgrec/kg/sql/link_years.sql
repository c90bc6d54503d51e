-- Years of wanted entities.
-- in: link_wanted(entity), link_predicates, literals    out: link_years(entity, year)
CREATE OR REPLACE TEMP TABLE link_years AS
SELECT DISTINCT s AS entity, try_cast(regexp_extract(o, '^"(-?[0-9]{4})', 1) AS SMALLINT) AS year
FROM literals
WHERE p IN (SELECT p FROM link_predicates WHERE means = 'date') AND s IN (SELECT entity FROM link_wanted)
ORDER BY entity, year;
