-- what: what clearing took in it has given out again, once nothing moved on it for 30 s
SELECT a.asset, sum(a.size) AS left_over FROM account a
LEFT JOIN journal j ON j.owner = a.owner AND j.asset = a.asset AND j.version = a.version
WHERE a.owner < 0 AND -a.owner % 10 = 2
GROUP BY a.asset HAVING sum(a.size) <> 0 AND coalesce(max(j.at), '-infinity') < now() - interval '30 s'
ORDER BY 1 LIMIT 20;
