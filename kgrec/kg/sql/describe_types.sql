-- Each type with its entities, how many of them are named, and their median degree. An entity without a type is in the row without one.
-- in: nodes    out: rows (type, entities, named, degree_median), most entities first
SELECT type, count(*) AS entities, count(name) AS named, quantile_disc(degree, 0.5) AS degree_median
FROM nodes
GROUP BY type
ORDER BY entities DESC, type;
