-- An item's candidates: those with the strongest, the most and the rarest shared keys, then the nearest years.
-- in: link_by_*(item_id, entity, kind, key, entities), link_item_years, link_years
-- out: link_candidates(item_id, entity, keys), keys: the kinds of keys both share, with "+" between
CREATE OR REPLACE TEMP TABLE link_candidates AS
WITH shared AS (
    FROM link_by_id UNION ALL FROM link_by_title UNION ALL FROM link_by_words UNION ALL FROM link_by_word UNION ALL FROM link_by_maker
),
pairs AS (
    SELECT item_id, entity, string_agg(DISTINCT kind, '+' ORDER BY kind) AS keys,
        max(CASE kind WHEN 'id' THEN 3 WHEN 'title' THEN 2 ELSE 0 END) AS strength,
        round(sum(1 / sqrt(entities)), 9) AS rarity
    FROM shared
    GROUP BY ALL
),
near AS (
    SELECT item_id, entity, min(abs(e.year - i.year)) AS apart
    FROM pairs JOIN link_item_years i USING (item_id) JOIN link_years e USING (entity)
    GROUP BY ALL
),
ranked AS (
    SELECT item_id, entity, keys,
        row_number() OVER (
            PARTITION BY item_id
            ORDER BY strength DESC, coalesce(apart, $tolerance + 1) <= $tolerance DESC, rarity DESC, apart NULLS LAST, entity
        ) AS place
    FROM pairs LEFT JOIN near USING (item_id, entity)
)
SELECT item_id, entity, keys FROM ranked WHERE place <= $max_candidates
ORDER BY item_id, entity;
