-- Ids of all codes the neighbourhood holds.
-- in: near, star, mediators, expanded    out: ids(code, node)
CREATE TABLE ids AS
SELECT code, node(code) AS node
FROM (
    SELECT s AS code FROM near UNION SELECT o FROM near UNION SELECT s FROM star UNION SELECT o FROM star
    UNION SELECT node FROM mediators UNION SELECT node FROM expanded
)
ORDER BY code;
