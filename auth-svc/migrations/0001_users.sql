-- Users and their sessions. A user is a customer: his number is given here once and for all.
CREATE SEQUENCE customer_id AS bigint;

CREATE TABLE app_user (
    customer_id   bigint PRIMARY KEY CHECK (customer_id > 0),
    username      text NOT NULL UNIQUE CHECK (username ~ '^[a-z0-9._-]{3,32}$'),   -- always lower case
    full_name     text NOT NULL CHECK (octet_length(full_name) BETWEEN 1 AND 200),
    role          text NOT NULL CHECK (role IN ('CUSTOMER', 'ADMIN')),
    status        text NOT NULL CHECK (status IN ('ACTIVE', 'DISABLED')),
    password_hash text NOT NULL CHECK (password_hash ~ '^\$argon2id\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'),
    opened        boolean NOT NULL,      -- asset-svc has said that his account is open
    create_date   timestamptz NOT NULL,
    update_date   timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX app_user_unopened ON app_user (create_date) WHERE NOT opened;
CREATE INDEX app_user_admins ON app_user (customer_id) WHERE role = 'ADMIN';

-- One row a refresh token; those that follow one another by renewal are a family, named after the first. Of the token only its
-- SHA-256 is here: it has 256 random bits, so there is nothing to guess.
CREATE TABLE session (
    id           uuid PRIMARY KEY,
    family       uuid NOT NULL,
    customer_id  bigint NOT NULL REFERENCES app_user,
    refresh_hash text NOT NULL UNIQUE CHECK (refresh_hash ~ '^[0-9a-f]{64}$'),
    peer         text NOT NULL CHECK (octet_length(peer) <= 64),
    create_date  timestamptz NOT NULL,
    expire_date  timestamptz NOT NULL CHECK (expire_date > create_date),
    revoke_date  timestamptz
);
CREATE INDEX session_of_customer ON session (customer_id, create_date DESC);
CREATE INDEX session_of_family ON session (family);

REVOKE DELETE ON app_user FROM auth_app;

-- The auditor reads every schema, but nobody's hash.
REVOKE SELECT ON app_user, session FROM auditor;
GRANT SELECT (customer_id, username, full_name, role, status, opened, create_date, update_date) ON app_user TO auditor;
GRANT SELECT (id, family, customer_id, create_date, expire_date, revoke_date) ON session TO auditor;
