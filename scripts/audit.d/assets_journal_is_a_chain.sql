-- what: an account's journal is numbered without a gap, each line begins where the one before it ended, and the last is the balance
WITH line AS (
    SELECT owner, asset, version, size_before, usable_before, size, usable,
           lag(version, 1, 0::bigint) OVER w AS version_before,
           lag(size, 1, 0::numeric) OVER w AS size_of_previous,
           lag(usable, 1, 0::numeric) OVER w AS usable_of_previous
    FROM assets.journal WINDOW w AS (PARTITION BY owner, asset ORDER BY version)
), broken AS (
    SELECT owner, asset, version, 'does not go on from the line before' AS what FROM line
    WHERE version <> version_before + 1 OR size_before <> size_of_previous OR usable_before <> usable_of_previous
    UNION ALL
    SELECT a.owner, a.asset, a.version, 'the balance is not its last line'
    FROM assets.account a LEFT JOIN assets.journal j ON (j.owner, j.asset, j.version) = (a.owner, a.asset, a.version)
    WHERE (a.version > 0 OR a.size <> 0) AND (j.size, j.usable) IS DISTINCT FROM (a.size, a.usable)
    UNION ALL
    SELECT j.owner, j.asset, max(j.version), 'lines beyond the balance'
    FROM assets.journal j LEFT JOIN assets.account a ON (a.owner, a.asset) = (j.owner, j.asset)
    GROUP BY j.owner, j.asset, a.version HAVING max(j.version) > coalesce(a.version, 0)
)
SELECT * FROM broken ORDER BY 1, 2, 3 LIMIT 20;
