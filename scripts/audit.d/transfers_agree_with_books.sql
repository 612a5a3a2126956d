-- what: every deposit and withdrawal is answered as the books answered it, once, and its amount stands in the journal, once the streams are drained
WITH posted AS (
    SELECT cause_id, count(*) AS entries, sum(amount) AS amount
    FROM assets.journal WHERE cause_type = 'TRANSFER' AND owner > 0 GROUP BY cause_id
)
SELECT coalesce(t.id, b.transfer_id) AS id, t.type, t.amount, t.status, b.booked, p.entries, p.amount AS posted
FROM txns.transfer t
FULL JOIN assets.booked_transfer b ON b.transfer_id = t.id
LEFT JOIN posted p ON p.cause_id = coalesce(t.id, b.transfer_id)
WHERE t.id IS NULL OR b.transfer_id IS NULL OR t.status = 'PENDING'
   OR b.booked <> (t.status = 'COMPLETED')
   OR coalesce(p.amount, 0) <> CASE WHEN NOT b.booked THEN 0 WHEN t.type = 'DEPOSIT' THEN t.amount ELSE -t.amount END
   OR coalesce(p.entries, 0) <> CASE WHEN b.booked THEN 1 ELSE 0 END
ORDER BY 1 LIMIT 20;
