-- what: an account's journal is numbered without a gap, and each line begins where the one before it ended
SELECT l.owner, l.asset, l.version, l.size_before, l.usable_before, p.size AS size_of_previous, p.usable AS usable_of_previous
FROM journal l LEFT JOIN LATERAL ( -- by its key: few lines are looked at, of many
    SELECT * FROM journal WHERE owner = l.owner AND asset = l.asset AND version = l.version - 1 LIMIT 1
) p ON true
WHERE l.at >= $1::timestamptz
  AND ((l.version > 1 AND p.version IS NULL)
       OR l.size_before <> coalesce(p.size, 0) OR l.usable_before <> coalesce(p.usable, 0))
ORDER BY 1, 2, 3 LIMIT 20;
