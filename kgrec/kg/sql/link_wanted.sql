-- Entities an item may be by their type.
-- in: types(s, o), link_types(type)    out: link_wanted(entity)
CREATE OR REPLACE TEMP TABLE link_wanted AS
SELECT DISTINCT s AS entity FROM types WHERE o IN (SELECT type FROM link_types)
ORDER BY entity;
