-- what: an Idempotency-Key stands for a transfer that exists and was not refused
SELECT i.customer_id, i.route, i.resource_id FROM idempotency i LEFT JOIN transfer t ON t.id = i.resource_id
WHERE i.created_at >= $1::timestamptz AND (t.id IS NULL OR t.status = 'REJECTED') ORDER BY 1, 2 LIMIT 20;
