-- what: at equal versions order-svc and the books say the same of an order: what is set aside for it, and what of it was matched
WITH told AS ( -- asked: the version of the last event that the books act on, which are placed, filled and canceled
    SELECT *, CASE WHEN status IN ('MATCHED', 'CANCELED') OR (status = 'PENDING' AND matched > 0) THEN version ELSE 1 END AS asked,
           CASE WHEN status = 'PENDING' THEN (size - matched) * CASE side WHEN 'BUY' THEN price ELSE 1 END ELSE 0 END AS needed
    FROM book_order WHERE told_at IS NOT NULL
)
SELECT o.order_id, o.customer_id, o.status, o.version, p.version AS books_version, trim_scale(o.needed) AS needed, p.reserved,
       o.matched, p.matched_size AS books_matched, o.matched_value, p.matched_value AS books_value
FROM told o JOIN posted_order p USING (order_id)
WHERE (o.told_at >= $1::timestamptz OR p.told_at >= $1::timestamptz) AND p.version BETWEEN o.asked AND o.version
  AND (o.customer_id <> p.customer_id OR (o.status <> 'NEW' AND o.needed <> p.reserved)
       OR o.matched <> p.matched_size OR o.matched_value <> p.matched_value)
ORDER BY 1 LIMIT 20;
