-- what: an Idempotency-Key stands for a resource that exists and was not refused
SELECT 'orders' AS schema, i.customer_id, i.route, i.resource_id FROM orders.idempotency i
LEFT JOIN orders.orders o ON o.id = i.resource_id WHERE o.id IS NULL OR o.status = 'REJECTED'
UNION ALL
SELECT 'txns', i.customer_id, i.route, i.resource_id FROM txns.idempotency i
LEFT JOIN txns.transfer t ON t.id = i.resource_id WHERE t.id IS NULL OR t.status = 'REJECTED'
UNION ALL
SELECT 'admin', i.customer_id, i.route, i.resource_id FROM admin.idempotency i
LEFT JOIN admin.match m ON m.match_id = i.resource_id WHERE m.match_id IS NULL
ORDER BY 1, 2 LIMIT 20;
