-- what: each lane's outbox is numbered without a gap up to the lane's last number, and nothing beyond it was published
WITH lanes AS (
    SELECT 'orders' AS schema, l.lane, l.last_seq, l.published_upto, max(o.seq) AS newest, count(o.seq) AS rows,
           max(o.seq) - min(o.seq) + 1 AS span
    FROM orders.lane l LEFT JOIN orders.outbox o USING (lane) GROUP BY l.lane
    UNION ALL
    SELECT 'assets' AS schema, l.lane, l.last_seq, l.published_upto, max(o.seq) AS newest, count(o.seq) AS rows,
           max(o.seq) - min(o.seq) + 1 AS span
    FROM assets.lane l LEFT JOIN assets.outbox o USING (lane) GROUP BY l.lane
    UNION ALL
    SELECT 'txns' AS schema, l.lane, l.last_seq, l.published_upto, max(o.seq) AS newest, count(o.seq) AS rows,
           max(o.seq) - min(o.seq) + 1 AS span
    FROM txns.lane l LEFT JOIN txns.outbox o USING (lane) GROUP BY l.lane
    UNION ALL
    SELECT 'auth' AS schema, l.lane, l.last_seq, l.published_upto, max(o.seq) AS newest, count(o.seq) AS rows,
           max(o.seq) - min(o.seq) + 1 AS span
    FROM auth.lane l LEFT JOIN auth.outbox o USING (lane) GROUP BY l.lane
    UNION ALL
    SELECT 'admin' AS schema, l.lane, l.last_seq, l.published_upto, max(o.seq) AS newest, count(o.seq) AS rows,
           max(o.seq) - min(o.seq) + 1 AS span
    FROM admin.lane l LEFT JOIN admin.outbox o USING (lane) GROUP BY l.lane
)
SELECT * FROM lanes
WHERE newest IS DISTINCT FROM nullif(last_seq, 0) OR coalesce(rows, 0) <> coalesce(span, 0) OR published_upto > last_seq
ORDER BY 1, 2;
