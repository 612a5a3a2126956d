-- what: an account's journal is numbered without a gap, and each line begins where the one before it ended
SELECT l.owner, l.asset, l.version, l.size_before, l.usable_before, p.size AS size_of_previous, p.usable AS usable_of_previous
FROM journal l LEFT JOIN journal p ON p.owner = l.owner AND p.asset = l.asset AND p.version = l.version - 1
WHERE l.at >= $1::timestamptz
  AND ((l.version > 1 AND p.version IS NULL)
       OR l.size_before <> coalesce(p.size, 0) OR l.usable_before <> coalesce(p.usable, 0))
ORDER BY 1, 2, 3 LIMIT 20;
