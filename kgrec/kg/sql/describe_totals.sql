-- One row of totals; shares and quantiles are left to the reader of it.
-- in: nodes, triples(head, relation, tail), links    out: one row
SELECT
    (SELECT count(*) FROM triples) AS triples,
    (SELECT count(DISTINCT relation) FROM triples) AS relations,
    (SELECT count(*) FROM triples WHERE head = tail) AS self_loops,
    count(*) AS entities,
    count(name) AS named,
    count(description) AS described,
    count(type) AS typed,
    count(*) FILTER (degree = 0) AS isolated,
    count(*) FILTER (len(items) > 0) AS items,
    count(*) FILTER (len(items) > 0 AND NOT starts_with(id, 'item:')) AS items_linked,
    count(*) FILTER (len(items) > 0 AND degree > 0) AS items_with_triples,
    coalesce(min(degree), 0) AS degree_min,
    coalesce(quantile_disc(degree, 0.5), 0) AS degree_median,
    coalesce(avg(degree), 0) AS degree_mean,
    coalesce(quantile_disc(degree, 0.9), 0) AS degree_p90,
    coalesce(quantile_disc(degree, 0.99), 0) AS degree_p99,
    coalesce(max(degree), 0) AS degree_max
FROM nodes
ORDER BY ALL;
