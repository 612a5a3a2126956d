-- what: each transfer and each account is asked for once, and answered once by the books, within 30 s, for the amount that was asked for
SELECT kind, id, customer_id, asked, done, refused, amount, required, asked_at, answered_at
FROM exchange
WHERE coalesce(greatest(asked_at, answered_at) >= $1::timestamptz, false)
  AND (asked > 1 OR done + refused > 1 OR (amount IS NOT NULL AND amount <> required)
       OR (asked = 0 AND answered_at < now() - interval '30 s')
       OR (done + refused = 0 AND asked_at < now() - interval '30 s' AND asked_at >= (SELECT at FROM said_since)))
ORDER BY 1, 2 LIMIT 20;
