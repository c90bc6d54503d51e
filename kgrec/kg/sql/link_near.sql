-- Everything the store says of the entities asked for, in one pass each over facts, types, and literals.
-- in: link_asked(entity), link_predicates, facts, types, literals    out: link_facts(entity, x, p, forward)
CREATE OR REPLACE TEMP TABLE link_facts AS
SELECT s AS entity, o AS x, p, true AS forward FROM facts WHERE s IN (SELECT entity FROM link_asked)
UNION ALL
SELECT o, s, p, false FROM facts WHERE o IN (SELECT entity FROM link_asked)
ORDER BY entity, p, x, forward;
