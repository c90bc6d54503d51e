-- Collapse mediators: h -p1-> mediator -p2-> t becomes h -p1..p2-> t, for h or t an expanded entity.
-- Each end of a mediator has a role; its label as head is the property that leads in, as tail the property that leads out.
-- A property of which only the other direction is known is written with a tilde: ~film.performance.film.
-- Of the two ways to read a pair of roles, the one that more often starts at an item is kept, for all facts alike.
-- in: star(s, p, o), mediators(node), mirrors(r1, r2), expanded(node), items(node)    out: collapsed(h, r, t)
CREATE OR REPLACE TABLE collapsed AS
WITH ways AS (
    SELECT o AS mediator, s AS node, p, true AS leads_in FROM star WHERE o IN (SELECT node FROM mediators)
    UNION ALL
    SELECT s, o, p, false FROM star WHERE s IN (SELECT node FROM mediators)
),
partners AS (
    SELECT r1 AS p, r2 AS partner FROM mirrors UNION SELECT r2, r1 FROM mirrors
),
ends AS (
    SELECT DISTINCT mediator, node,
        CASE WHEN leads_in THEN w.p ELSE coalesce(partner, '~' || w.p) END AS way_in,
        CASE WHEN leads_in THEN coalesce(partner, '~' || w.p) ELSE w.p END AS way_out
    FROM ways w LEFT JOIN partners USING (p)
    WHERE node NOT IN (SELECT node FROM mediators)
),
pairs AS (
    SELECT DISTINCT a.node AS a, a.way_in AS a_in, a.way_out AS a_out, b.node AS b, b.way_in AS b_in, b.way_out AS b_out
    FROM ends a JOIN ends b USING (mediator)
    WHERE a.node <> b.node
        AND (a.way_in < b.way_in OR (a.way_in = b.way_in AND a.node < b.node))
        AND (a.node IN (SELECT node FROM expanded) OR b.node IN (SELECT node FROM expanded))
),
sides AS (
    SELECT a_in, b_in, sum((b IN (SELECT node FROM items))::INT) > sum((a IN (SELECT node FROM items))::INT) AS turn
    FROM pairs
    GROUP BY ALL
)
SELECT DISTINCT
    CASE WHEN turn THEN b ELSE a END AS h,
    CASE WHEN turn THEN b_in || '..' || a_out ELSE a_in || '..' || b_out END AS r,
    CASE WHEN turn THEN a ELSE b END AS t
FROM pairs JOIN sides USING (a_in, b_in)
ORDER BY h, r, t;
