-- what: every user has a TRY account and is known to orders, assets and transactions, once the streams are drained
SELECT u.customer_id, a.owner IS NOT NULL AS has_account, o.customer_id IS NOT NULL AS in_orders,
       s.customer_id IS NOT NULL AS in_assets, t.customer_id IS NOT NULL AS in_txns
FROM auth.app_user u
LEFT JOIN assets.account a ON a.owner = u.customer_id AND a.asset = 'TRY'
LEFT JOIN orders.customer o USING (customer_id)
LEFT JOIN assets.customer s USING (customer_id)
LEFT JOIN txns.customer t USING (customer_id)
WHERE a.owner IS NULL OR o.customer_id IS NULL OR s.customer_id IS NULL OR t.customer_id IS NULL
ORDER BY 1 LIMIT 20;
