-- what: an Idempotency-Key stands for an order that exists and was not refused
SELECT i.customer_id, i.route, i.resource_id FROM idempotency i LEFT JOIN orders o ON o.id = i.resource_id
WHERE i.created_at >= $1::timestamptz AND (o.id IS NULL OR o.status = 'REJECTED') ORDER BY 1, 2 LIMIT 20;
