-- role.sql - one login role, :role, with the password in its file. Included by roles.sql.

SELECT format('CREATE ROLE %I LOGIN', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

\set password `cat "$SECRETS_DIR"/db_:'role'`
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    PASSWORD :'password';
\unset password

GRANT CONNECT ON DATABASE brokerage TO :"role";
