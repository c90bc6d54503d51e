-- Relations with their counts and the sources they come from.
-- in: triples(h, r, t, source)
SELECT r AS relation, count(*) AS triples, count(DISTINCT h) AS heads, count(DISTINCT t) AS tails,
    array_to_string(list_sort(list_distinct(flatten(list(string_split(source, '+'))))), '+') AS source
FROM triples
GROUP BY r
ORDER BY r;
