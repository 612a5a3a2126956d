-- what: what a customer can't use is exactly what his open reservations set aside
WITH touched AS (
    SELECT DISTINCT owner, asset FROM journal WHERE at >= $1::timestamptz AND owner > 0
), looked_at AS ( -- since ever: accounts without a line too
    SELECT owner, asset, a.size, a.usable FROM account a FULL JOIN touched t USING (owner, asset)
    WHERE owner > 0 AND (t.owner IS NOT NULL OR $1::timestamptz <= to_timestamp(0))
), open AS (
    SELECT customer_id AS owner, asset, sum(reserved) AS reserved FROM reservation WHERE state = 'OPEN' GROUP BY 1, 2
)
SELECT owner AS customer_id, asset, x.size - x.usable AS not_usable, o.reserved FROM looked_at x FULL JOIN open o USING (owner, asset)
WHERE (x.owner IS NOT NULL OR $1::timestamptz <= to_timestamp(0)) AND coalesce(x.size - x.usable, 0) <> coalesce(o.reserved, 0)
ORDER BY 1, 2 LIMIT 20;
