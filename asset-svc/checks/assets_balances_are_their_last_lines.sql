-- what: a balance is what the last line of its journal says, and no line is beyond it
WITH touched AS (
    SELECT owner, asset, max(version) AS last FROM journal WHERE at >= $1::timestamptz GROUP BY 1, 2
), looked_at AS ( -- since ever: accounts without a line too
    SELECT owner, asset, t.last, a.version, a.size, a.usable FROM account a FULL JOIN touched t USING (owner, asset)
    WHERE t.last IS NOT NULL OR $1::timestamptz <= to_timestamp(0)
)
SELECT x.owner, x.asset, x.version, x.size, x.usable, x.last, j.size AS size_of_last, j.usable AS usable_of_last
FROM looked_at x LEFT JOIN journal j ON j.owner = x.owner AND j.asset = x.asset AND j.version = x.last
WHERE x.version IS DISTINCT FROM coalesce(x.last, 0)
   OR (x.size, x.usable) IS DISTINCT FROM (coalesce(j.size, 0), coalesce(j.usable, 0))
ORDER BY 1, 2 LIMIT 20;
