-- what: all tokens of a session are one user's
SELECT family AS session, count(DISTINCT customer_id) AS users FROM session WHERE create_date >= $1::timestamptz
GROUP BY family HAVING count(DISTINCT customer_id) > 1 ORDER BY 1 LIMIT 20;
