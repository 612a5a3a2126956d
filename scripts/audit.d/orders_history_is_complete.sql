-- what: an order's history has a line a version, without a gap, and the last is its state
SELECT o.id, o.version, o.status, count(h.version) AS lines, max(h.version) AS last
FROM orders.orders o LEFT JOIN orders.order_history h ON h.order_id = o.id
GROUP BY o.id HAVING count(h.version) <> o.version OR max(h.version) IS DISTINCT FROM o.version
   OR NOT bool_or(h.version = o.version AND h.status = o.status)
ORDER BY 1 LIMIT 20;
