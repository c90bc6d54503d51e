-- Forms and parts of the names of wanted entities, and their years.
-- in: link_wanted(entity), link_predicates, literals    out: link_titles(entity, form, part), part: only a part of a name
CREATE OR REPLACE TEMP TABLE link_titles AS
WITH named AS (
    SELECT DISTINCT s AS entity, o
    FROM literals
    WHERE p IN (SELECT p FROM link_predicates WHERE means IN ('name', 'alias')) AND starts_with(o, '"')
        AND s IN (SELECT entity FROM link_wanted)
),
formed AS (SELECT entity, unnest(literal_titles(o)) AS form FROM named)
SELECT entity, ltrim(form, ':') AS form, bool_and(starts_with(form, ':')) AS part
FROM formed
GROUP BY ALL
ORDER BY entity, form;
