-- what: the postings of a journal entry sum to zero per asset
SELECT entry_id, asset, sum(amount) AS sum FROM journal WHERE at >= $1::timestamptz
GROUP BY entry_id, asset HAVING sum(amount) <> 0 ORDER BY 1, 2 LIMIT 20;
