-- what: within a lane and partition, events are numbered without a gap up to the counter
-- Looked at since ever: all rows; else the newest of each lane, for there are as many as were published in a day.
WITH newest AS (
    SELECT o.lane, o.aggregatetype AS topic, o.partition, max(o.part_seq) AS newest, count(*) AS rows,
           max(o.part_seq) - min(o.part_seq) + 1 AS span
    FROM lane l JOIN outbox o ON o.lane = l.lane AND o.seq > l.last_seq - CASE WHEN $1::timestamptz <= to_timestamp(0) THEN 9223372036854775807 ELSE 20000 END
    GROUP BY 1, 2, 3
)
SELECT lane, topic, partition, c.part_seq, n.newest, n.rows, n.span
FROM lane_counter c FULL JOIN newest n USING (lane, topic, partition)
WHERE n.newest IS NOT NULL AND (n.newest IS DISTINCT FROM c.part_seq OR n.rows <> n.span)
ORDER BY 1, 2, 3 LIMIT 20;
