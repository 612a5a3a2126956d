-- what: the books know no version of an order that order-svc has not told: alarm at once when the event they answer was read, else after 30 s
SELECT p.order_id, p.customer_id, p.version AS books_version, o.version, o.status, p.told_at
FROM posted_order p LEFT JOIN book_order o USING (order_id)
WHERE p.told_at >= $1::timestamptz AND p.version > coalesce(o.version, 0)
  AND (p.told_at < now() - interval '30 s'
       OR (o.version IS NOT NULL AND EXISTS (
           SELECT FROM consumer_sequence s
           WHERE s.topic = 'order-events' AND s.source = 'order-svc' AND s.lane = p.asked_lane
             AND s.partition = p.asked_partition AND s.part_seq >= p.asked_part_seq)))
ORDER BY p.told_at LIMIT 20;
