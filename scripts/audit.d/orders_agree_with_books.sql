-- what: every order and its reservation agree, once the streams are drained: PENDING and open, MATCHED and used up, CANCELED or REJECTED and given back
SELECT o.id, o.status, o.version AS order_version, r.state, r.version AS books_version, r.reserved
FROM orders.orders o LEFT JOIN assets.reservation r ON r.order_id = o.id
WHERE CASE o.status
    WHEN 'NEW' THEN true
    WHEN 'PENDING' THEN r.state IS DISTINCT FROM 'OPEN' OR r.reserved <> (o.size - o.house_size - o.clearing_size)
                        * CASE o.side WHEN 'BUY' THEN o.price ELSE 1 END
    WHEN 'MATCHED' THEN r.state IS DISTINCT FROM 'CAPTURED'
    WHEN 'CANCELED' THEN r.state IS DISTINCT FROM 'RELEASED'
    ELSE coalesce(r.state, 'REFUSED') <> 'REFUSED'
END
   OR (r.house_size, r.house_value, r.clearing_size, r.clearing_value)
      IS DISTINCT FROM (o.house_size, o.house_value, o.clearing_size, o.clearing_value)
ORDER BY o.create_date LIMIT 20;
