-- what: over all accounts, the firm's and the outside world's included, every asset sums to zero
SELECT asset, sum(size) AS sum FROM account GROUP BY asset HAVING sum(size) <> 0 ORDER BY asset LIMIT 20;
