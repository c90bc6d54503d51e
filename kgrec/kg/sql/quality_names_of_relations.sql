-- The relations of a graph as an enumeration, in the order of their names.
-- in: read_triples    out: type relation_name
CREATE TYPE relation_name AS ENUM (SELECT DISTINCT relation FROM read_triples ORDER BY relation);
