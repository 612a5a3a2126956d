-- what: no transfer is PENDING for longer than 30 s: the books answer at once
SELECT id, customer_id, type, create_date FROM transfer
WHERE status = 'PENDING' AND create_date < now() - interval '30 s' ORDER BY create_date LIMIT 20;
