-- A session is a log-in with all renewals of its refresh token: what was called a family. Until now no token could be renewed, so
-- each row of `session` is one, and its id is what access tokens name as sid.
CREATE TABLE refresh_token (
    hash        text PRIMARY KEY CHECK (hash ~ '^[0-9a-f]{64}$'),
    session_id  uuid NOT NULL REFERENCES session ON DELETE CASCADE,
    create_date timestamptz NOT NULL,
    -- Once it was used: when, under which Idempotency-Key (its SHA-256), and the token that came after it, sealed so that only
    -- who has this one can read it.
    used_date   timestamptz CHECK (used_date >= create_date),
    repeat_key  text CHECK (repeat_key ~ '^[0-9a-f]{64}$'),
    successor   text CHECK (successor ~ '^[A-Za-z0-9_-]{43}$'),
    CHECK ((used_date IS NULL) = (successor IS NULL)),
    CHECK (used_date IS NOT NULL OR repeat_key IS NULL)
) WITH (fillfactor = 80);
CREATE INDEX refresh_token_of_session ON refresh_token (session_id);
INSERT INTO refresh_token (hash, session_id, create_date) SELECT refresh_hash, id, create_date FROM session;

ALTER TABLE session
    DROP COLUMN family,
    DROP COLUMN refresh_hash,
    ADD COLUMN refresh_date timestamptz, -- when it was last renewed, or begun
    ADD COLUMN idle_date timestamptz,    -- by when it must be renewed again; expire_date is its end in any case
    ADD COLUMN end_reason text CHECK (end_reason IN ('logout', 'reuse', 'password', 'disabled', 'role', 'admin', 'limit'));
UPDATE session SET refresh_date = create_date, idle_date = least(expire_date, create_date + interval '1 day'),
    end_reason = CASE WHEN revoke_date IS NOT NULL THEN 'admin' END;
ALTER TABLE session
    ALTER COLUMN refresh_date SET NOT NULL,
    ALTER COLUMN idle_date SET NOT NULL,
    ADD CHECK (idle_date <= expire_date),
    ADD CHECK ((revoke_date IS NULL) = (end_reason IS NULL));
DROP INDEX session_of_customer;
CREATE INDEX session_live ON session (customer_id, create_date, id) WHERE revoke_date IS NULL;
CREATE INDEX session_expiry ON session (expire_date);

REVOKE SELECT ON refresh_token FROM auditor;
GRANT SELECT (session_id, create_date, used_date) ON refresh_token TO auditor;
GRANT SELECT (refresh_date, idle_date, end_reason) ON session TO auditor;

-- A new password makes another version; the same one hashed anew does not.
ALTER TABLE app_user
    ADD COLUMN password_version integer NOT NULL DEFAULT 1 CHECK (password_version > 0),
    ADD COLUMN must_change_password boolean NOT NULL DEFAULT false;
GRANT SELECT (password_version, must_change_password) ON app_user TO auditor;
