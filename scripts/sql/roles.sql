-- roles.sql - the database, one schema a service, and who may do what in them.
--
-- Run by psql as the superuser, on any database of the cluster, as often as you like:
--   SECRETS_DIR=... psql -v ON_ERROR_STOP=1 -d postgres -f roles.sql
-- Each role's password is read from the file $SECRETS_DIR/db_<role>.
--
-- For every schema:
--   <schema>_owner  owns it and what is made in it; migrates on a connection that is then closed.
--   <schema>_app    what the service runs as: reads and writes rows, nothing else, nowhere else.
--                   What a migration revokes from it (UPDATE and DELETE on a journal) it cannot
--                   take back, since it owns nothing, and running this file again does not give
--                   it back either: only tables yet to be made get default privileges.
-- And one `auditor`, who reads every schema and writes none.

\set QUIET on
\set ON_ERROR_STOP on
SET client_min_messages = warning;
-- A statement that fails is logged; one that holds a password must not be.
SET log_min_error_statement = panic;

SELECT 'CREATE DATABASE brokerage' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'brokerage') \gexec
\connect brokerage
SET client_min_messages = warning;
SET log_min_error_statement = panic;

REVOKE ALL ON DATABASE brokerage FROM PUBLIC;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

\set role auditor
\ir role.sql
ALTER ROLE auditor SET default_transaction_read_only = on;

\set schema orders
\ir schema.sql
\set schema assets
\ir schema.sql
\set schema txns
\ir schema.sql
\set schema auth
\ir schema.sql
\set schema admin
\ir schema.sql

ALTER ROLE auditor IN DATABASE brokerage SET search_path = orders, assets, txns, auth, admin;
