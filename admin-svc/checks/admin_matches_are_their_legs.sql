-- what: a match has as many legs, and as many open ones, as it says
SELECT m.match_id, m.state, m.legs, m.legs_open, l.legs AS counted, l.open AS counted_open
FROM match m CROSS JOIN LATERAL (
    SELECT count(*) AS legs, count(*) FILTER (WHERE state <> 'DONE') AS open FROM match_leg WHERE match_id = m.match_id
) l
WHERE m.create_date >= $1::timestamptz
  AND (l.legs <> m.legs OR l.open <> m.legs_open OR (m.state = 'DONE' AND l.open > 0)) ORDER BY 1 LIMIT 20;
