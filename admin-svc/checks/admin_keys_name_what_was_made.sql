-- what: an Idempotency-Key stands for a match that exists
SELECT i.customer_id, i.route, i.resource_id FROM idempotency i LEFT JOIN match m ON m.match_id = i.resource_id
WHERE i.created_at >= $1::timestamptz AND m.match_id IS NULL ORDER BY 1, 2 LIMIT 20;
