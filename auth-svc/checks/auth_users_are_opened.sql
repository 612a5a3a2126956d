-- what: no user waits for his account for longer than 30 s: the books open it at once
SELECT customer_id, create_date FROM app_user
WHERE NOT opened AND create_date < now() - interval '30 s' ORDER BY create_date LIMIT 20;
