-- Entities the neighbourhood has reached and not yet expanded, with the number of facts the dump has of each.
-- in: all_near, all_star, all_mediators, expanded, stated_facts    out: reached(node, degree)
CREATE OR REPLACE TABLE reached AS
WITH nodes AS (
    (SELECT s AS node FROM all_near UNION SELECT o FROM all_near UNION SELECT s FROM all_star UNION SELECT o FROM all_star)
    EXCEPT (SELECT node FROM all_mediators UNION SELECT node FROM expanded)
),
ends AS (
    SELECT s AS node FROM stated_facts WHERE s IN (SELECT node FROM nodes)
    UNION ALL
    SELECT o FROM stated_facts WHERE o IN (SELECT node FROM nodes)
)
SELECT node, count(*) AS degree FROM ends
GROUP BY node
ORDER BY node;
