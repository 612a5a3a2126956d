-- what: every consumer has applied every event of every lane it reads, exactly up to the last one, once the streams are drained
WITH streams AS (
    SELECT 'orders' AS consumer, 'asset-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM assets.lane_counter c LEFT JOIN orders.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'asset-svc'
    WHERE c.topic = 'asset-events'
    UNION ALL
    SELECT 'orders' AS consumer, 'admin-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM admin.lane_counter c LEFT JOIN orders.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'admin-svc'
    WHERE c.topic = 'admin-events'
    UNION ALL
    SELECT 'orders' AS consumer, 'auth-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM auth.lane_counter c LEFT JOIN orders.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'auth-svc'
    WHERE c.topic = 'auth-events'
    UNION ALL
    SELECT 'assets' AS consumer, 'order-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM orders.lane_counter c LEFT JOIN assets.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'order-svc'
    WHERE c.topic = 'order-events'
    UNION ALL
    SELECT 'assets' AS consumer, 'txn-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM txns.lane_counter c LEFT JOIN assets.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'txn-svc'
    WHERE c.topic = 'txn-events'
    UNION ALL
    SELECT 'assets' AS consumer, 'auth-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM auth.lane_counter c LEFT JOIN assets.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'auth-svc'
    WHERE c.topic = 'auth-events'
    UNION ALL
    SELECT 'txns' AS consumer, 'asset-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM assets.lane_counter c LEFT JOIN txns.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'asset-svc'
    WHERE c.topic = 'asset-events'
    UNION ALL
    SELECT 'txns' AS consumer, 'auth-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM auth.lane_counter c LEFT JOIN txns.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'auth-svc'
    WHERE c.topic = 'auth-events'
    UNION ALL
    SELECT 'auth' AS consumer, 'asset-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM assets.lane_counter c LEFT JOIN auth.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'asset-svc'
    WHERE c.topic = 'asset-events'
    UNION ALL
    SELECT 'admin' AS consumer, 'order-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM orders.lane_counter c LEFT JOIN admin.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'order-svc'
    WHERE c.topic = 'order-events'
    UNION ALL
    SELECT 'admin' AS consumer, 'asset-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM assets.lane_counter c LEFT JOIN admin.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'asset-svc'
    WHERE c.topic = 'asset-events'
    UNION ALL
    SELECT 'admin' AS consumer, 'txn-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM txns.lane_counter c LEFT JOIN admin.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'txn-svc'
    WHERE c.topic = 'txn-events'
    UNION ALL
    SELECT 'admin' AS consumer, 'auth-svc' AS source, c.lane, c.partition, c.part_seq AS published, s.part_seq AS consumed
    FROM auth.lane_counter c LEFT JOIN admin.consumer_sequence s
      ON s.topic = c.topic AND s.partition = c.partition AND s.lane = c.lane AND s.source = 'auth-svc'
    WHERE c.topic = 'auth-events'
)
SELECT * FROM streams WHERE published IS DISTINCT FROM consumed ORDER BY 1, 2, 3, 4 LIMIT 20;
