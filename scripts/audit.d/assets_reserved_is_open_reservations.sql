-- what: what a customer can't use is exactly what his open reservations set aside
SELECT coalesce(a.owner, r.customer_id) AS customer_id, coalesce(a.asset, r.asset) AS asset,
       a.size - a.usable AS not_usable, r.reserved
FROM (SELECT * FROM assets.account WHERE owner > 0) a
FULL JOIN (SELECT customer_id, asset, sum(reserved) AS reserved FROM assets.reservation WHERE state = 'OPEN' GROUP BY 1, 2) r
  ON r.customer_id = a.owner AND r.asset = a.asset
WHERE coalesce(a.size - a.usable, 0) <> coalesce(r.reserved, 0) ORDER BY 1, 2 LIMIT 20;
