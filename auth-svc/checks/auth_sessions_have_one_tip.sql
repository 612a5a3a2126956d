-- what: a session that was not ended has one refresh token that was not used
SELECT s.id AS session, count(t.session_id) AS tokens FROM session s
LEFT JOIN refresh_token t ON t.session_id = s.id AND t.used_date IS NULL
WHERE s.revoke_date IS NULL AND s.create_date >= $1::timestamptz GROUP BY s.id HAVING count(t.session_id) <> 1 ORDER BY 1 LIMIT 20;
