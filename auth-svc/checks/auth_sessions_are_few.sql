-- what: nobody has more than 64 sessions that go on
SELECT customer_id, count(*) AS sessions FROM session
WHERE revoke_date IS NULL AND expire_date > now() AND idle_date > now()
GROUP BY customer_id HAVING count(*) > 64 ORDER BY 1 LIMIT 20;
