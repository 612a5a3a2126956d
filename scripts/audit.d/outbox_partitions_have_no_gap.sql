-- what: within a lane and partition, events are numbered without a gap up to the counter
WITH counters AS (
    SELECT 'orders' AS schema, c.lane, c.topic, c.partition, c.part_seq, max(o.part_seq) AS newest, count(o.seq) AS rows,
           max(o.part_seq) - min(o.part_seq) + 1 AS span
    FROM orders.lane_counter c LEFT JOIN orders.outbox o
      ON o.lane = c.lane AND o.aggregatetype = c.topic AND o.partition = c.partition
    GROUP BY c.lane, c.topic, c.partition
    UNION ALL
    SELECT 'assets' AS schema, c.lane, c.topic, c.partition, c.part_seq, max(o.part_seq) AS newest, count(o.seq) AS rows,
           max(o.part_seq) - min(o.part_seq) + 1 AS span
    FROM assets.lane_counter c LEFT JOIN assets.outbox o
      ON o.lane = c.lane AND o.aggregatetype = c.topic AND o.partition = c.partition
    GROUP BY c.lane, c.topic, c.partition
    UNION ALL
    SELECT 'txns' AS schema, c.lane, c.topic, c.partition, c.part_seq, max(o.part_seq) AS newest, count(o.seq) AS rows,
           max(o.part_seq) - min(o.part_seq) + 1 AS span
    FROM txns.lane_counter c LEFT JOIN txns.outbox o
      ON o.lane = c.lane AND o.aggregatetype = c.topic AND o.partition = c.partition
    GROUP BY c.lane, c.topic, c.partition
    UNION ALL
    SELECT 'auth' AS schema, c.lane, c.topic, c.partition, c.part_seq, max(o.part_seq) AS newest, count(o.seq) AS rows,
           max(o.part_seq) - min(o.part_seq) + 1 AS span
    FROM auth.lane_counter c LEFT JOIN auth.outbox o
      ON o.lane = c.lane AND o.aggregatetype = c.topic AND o.partition = c.partition
    GROUP BY c.lane, c.topic, c.partition
    UNION ALL
    SELECT 'admin' AS schema, c.lane, c.topic, c.partition, c.part_seq, max(o.part_seq) AS newest, count(o.seq) AS rows,
           max(o.part_seq) - min(o.part_seq) + 1 AS span
    FROM admin.lane_counter c LEFT JOIN admin.outbox o
      ON o.lane = c.lane AND o.aggregatetype = c.topic AND o.partition = c.partition
    GROUP BY c.lane, c.topic, c.partition
)
SELECT * FROM counters
WHERE (rows > 0 AND newest <> part_seq) OR coalesce(rows, 0) <> coalesce(span, 0) ORDER BY 1, 2, 3, 4;
