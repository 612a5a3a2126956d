-- what: the books have answered what order-svc told of an order within 30 s
SELECT o.order_id, o.customer_id, o.status, o.version, p.version AS books_version, o.told_at
FROM book_order o LEFT JOIN posted_order p USING (order_id)
WHERE o.told_at >= $1::timestamptz AND o.told_at < now() - interval '30 s' AND o.status <> 'NEW'
  AND (p.version < CASE WHEN o.status IN ('MATCHED', 'CANCELED') OR (o.status = 'PENDING' AND o.matched > 0) THEN o.version ELSE 1 END
       OR (p.version IS NULL AND o.create_date >= (SELECT at FROM said_since)))
ORDER BY o.told_at LIMIT 20;
