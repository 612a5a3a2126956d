-- what: an order's history has a line a version, without a gap, and the last is its state
SELECT o.id, o.version, o.status, h.lines, h.last
FROM orders o CROSS JOIN LATERAL (
    SELECT count(*) AS lines, max(version) AS last, bool_or(version = o.version AND status = o.status) AS agrees
    FROM order_history WHERE order_id = o.id
) h
WHERE o.update_date >= $1::timestamptz
  AND (h.lines <> o.version OR h.last IS DISTINCT FROM o.version OR h.agrees IS NOT TRUE)
ORDER BY 1 LIMIT 20;
