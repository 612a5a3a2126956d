-- what: what the legs of all matches filled of an order is what the order says was matched against the house; no match is left unfinished once the streams are drained
WITH filled AS (
    SELECT order_id, sum(size) AS size FROM admin.match_leg
    WHERE outcome IN ('MATCHED', 'PARTIALLY_MATCHED') GROUP BY order_id
)
SELECT o.id::text AS what, o.house_size AS ordered, f.size AS filled
FROM orders.orders o LEFT JOIN filled f ON f.order_id = o.id WHERE o.house_size <> coalesce(f.size, 0)
UNION ALL
SELECT 'match ' || match_id || ' is ' || state, legs, legs_open FROM admin.match
WHERE state <> 'DONE' OR legs_open <> 0
ORDER BY 1 LIMIT 20;
