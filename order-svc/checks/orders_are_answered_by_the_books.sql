-- what: no order is NEW for longer than 30 s: the books answer at once
SELECT id, customer_id, create_date FROM orders
WHERE status = 'NEW' AND create_date < now() - interval '30 s' ORDER BY create_date LIMIT 20;
