-- Entities of a batch that are not items, and their names.
-- in: batch(entity_id, name), links(entity_id)    out: rows
SELECT entity_id, name FROM batch ANTI JOIN links USING (entity_id)
ORDER BY entity_id;
