-- Entities made from metadata that the graph already has: person:Tom Hanks is m.0bxtg when exactly one other entity bears
-- that name (in any language) and a fact ties it to an item that also lists Tom Hanks.
-- in: raw(h, r, t, source), labels(s, kind, o), given(node, name, type), items(node)    out: joined(node, entity)
CREATE OR REPLACE TABLE joined AS
WITH listed AS (
    SELECT DISTINCT h AS item, t AS node, name FROM raw JOIN given ON node = t WHERE source = 'metadata'
),
beside AS (
    SELECT h AS item, t AS entity FROM raw WHERE source <> 'metadata' AND h IN (SELECT node FROM items)
    UNION
    SELECT t, h FROM raw WHERE source <> 'metadata' AND t IN (SELECT node FROM items)
),
names AS (
    SELECT s AS entity, lower(regexp_extract(o, '^"(.*)"', 1)) AS name FROM labels
    WHERE kind = 'name' AND s IN (SELECT entity FROM beside)
    UNION
    SELECT node, lower(name) FROM given WHERE node IN (SELECT entity FROM beside)
),
pairs AS (
    SELECT DISTINCT node, entity
    FROM listed JOIN beside USING (item) JOIN names USING (entity)
    WHERE lower(listed.name) = names.name AND entity NOT IN (SELECT node FROM items)
)
SELECT node, min(entity) AS entity FROM pairs
GROUP BY node
HAVING count(*) = 1
ORDER BY node;
