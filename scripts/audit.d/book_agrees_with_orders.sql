-- what: the matching book shows every order as order-svc has it, once the streams are drained
SELECT o.id, o.status, o.version, b.status AS book_status, b.version AS book_version
FROM orders.orders o FULL JOIN admin.book_order b ON b.order_id = o.id
WHERE o.id IS NULL OR (b.order_id IS NULL AND o.status <> 'NEW')
   OR (b.status, b.version, b.matched) IS DISTINCT FROM (o.status, o.version, o.house_size + o.clearing_size)
ORDER BY 1 LIMIT 20;
