-- What the entities of a batch that are items say of them.
-- in: batch(entity_id, description), links(item_id, entity_id)    out: rows
SELECT item_id, description FROM batch JOIN links USING (entity_id)
WHERE description IS NOT NULL
ORDER BY entity_id, item_id;
