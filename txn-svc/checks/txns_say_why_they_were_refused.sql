-- what: a transfer that was refused has its reason and what there was, another has none
SELECT id, status, status_reason, required, usable FROM transfer
WHERE update_date >= $1::timestamptz
  AND ((status = 'REJECTED') <> (status_reason IS NOT NULL) OR (status <> 'REJECTED' AND (required <> 0 OR usable <> 0))
       OR (status = 'REJECTED' AND required <> amount))
ORDER BY 1 LIMIT 20;
