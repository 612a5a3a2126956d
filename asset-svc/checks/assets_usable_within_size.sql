-- what: a customer owns at least what is usable, and never less than nothing
SELECT owner AS customer_id, asset, size, usable FROM account
WHERE owner > 0 AND NOT (0 <= usable AND usable <= size) ORDER BY 1, 2 LIMIT 20;
