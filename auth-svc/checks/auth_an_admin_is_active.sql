-- what: where there are admins, one of them at least may log in
SELECT count(*) AS disabled_admins FROM app_user WHERE role = 'ADMIN' HAVING count(*) > 0 AND NOT bool_or(status = 'ACTIVE');
