-- what: each lane's outbox is numbered without a gap up to the lane's last number, and nothing beyond it was published
-- Looked at since ever: all rows; else the newest of each lane, for there are as many as were published in a day.
SELECT l.lane, l.last_seq, l.published_upto, o.newest, o.rows, o.span
FROM lane l CROSS JOIN LATERAL (
    SELECT max(seq) AS newest, count(*) AS rows, max(seq) - min(seq) + 1 AS span
    FROM outbox WHERE outbox.lane = l.lane AND seq > l.last_seq - CASE WHEN $1::timestamptz <= to_timestamp(0) THEN 9223372036854775807 ELSE 20000 END
) o
WHERE o.newest IS DISTINCT FROM nullif(l.last_seq, 0) OR o.rows <> coalesce(o.span, 0) OR l.published_upto > l.last_seq
ORDER BY 1 LIMIT 20;
