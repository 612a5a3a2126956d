-- what: a transfer that was booked has one line in the journal, of what was asked for, one that was refused has none
WITH made AS (
    SELECT * FROM booked_transfer WHERE transfer_id >= (lpad(to_hex(floor(extract(epoch FROM $1::timestamptz) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
), posted AS (
    SELECT cause_id AS transfer_id, count(*) AS lines, sum(amount) AS amount
    FROM journal WHERE cause_type = 'TRANSFER' AND owner > 0 AND at >= $1::timestamptz - interval '5 min' GROUP BY cause_id
)
SELECT t.transfer_id, t.booked, t.required, p.lines, p.amount FROM made t LEFT JOIN posted p USING (transfer_id)
WHERE coalesce(p.lines, 0) <> CASE WHEN t.booked THEN 1 ELSE 0 END OR (t.booked AND abs(p.amount) <> t.required)
ORDER BY 1 LIMIT 20;
