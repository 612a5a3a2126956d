-- what: one who was disabled has no session that goes on
SELECT s.id AS session, s.customer_id FROM session s JOIN app_user u USING (customer_id)
WHERE u.status = 'DISABLED' AND s.revoke_date IS NULL AND s.expire_date > now() ORDER BY 1 LIMIT 20;
