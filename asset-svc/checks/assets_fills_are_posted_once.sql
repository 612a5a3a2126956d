-- what: what the journal holds for an order is what its reservation says was matched: money one way, shares the other, once
WITH made AS ( -- ids tell when they were made: an order of then has all its lines since then, but for clocks that differ
    SELECT * FROM reservation WHERE order_id >= (lpad(to_hex(floor(extract(epoch FROM $1::timestamptz) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
), posted AS (
    SELECT cause_id AS order_id, sum(amount) FILTER (WHERE asset = 'TRY') AS money,
           sum(amount) FILTER (WHERE asset <> 'TRY') AS shares
    FROM journal WHERE cause_type = 'ORDER' AND owner > 0 AND at >= $1::timestamptz - interval '5 min' GROUP BY cause_id
)
SELECT r.order_id, r.house_size + r.clearing_size AS matched, r.house_value + r.clearing_value AS value, p.money, p.shares
FROM made r LEFT JOIN posted p USING (order_id)
WHERE abs(coalesce(p.money, 0)) <> r.house_value + r.clearing_value
   OR abs(coalesce(p.shares, 0)) <> r.house_size + r.clearing_size
   OR (r.house_size + r.clearing_size > 0 AND (r.asset = 'TRY') <> (p.money < 0))
ORDER BY 1 LIMIT 20;
