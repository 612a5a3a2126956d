-- what: no match is under way for longer than 30 s
SELECT match_id, state, legs, legs_open, create_date FROM match
WHERE state <> 'DONE' AND create_date < now() - interval '30 s' ORDER BY create_date LIMIT 20;
