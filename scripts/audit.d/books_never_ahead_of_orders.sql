-- what: the books hold no order that order-svc does not have, and no later version of one
SELECT r.order_id, r.version AS books_version, o.version AS order_version, o.status
FROM assets.reservation r LEFT JOIN orders.orders o ON o.id = r.order_id
WHERE o.id IS NULL OR r.version > o.version ORDER BY 1 LIMIT 20;
