-- How fast passwords may be tried (guard.h). A row that is past both dates is as good as none, and is deleted when there is time.
CREATE TABLE login_bucket (
    key        text PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 80), -- its kind, and a hash of the name or address
    empty_date timestamptz NOT NULL, -- when all its failures are forgotten
    open_date  timestamptz NOT NULL  -- until then nobody is heard
) WITH (fillfactor = 70);
CREATE INDEX login_bucket_empty ON login_bucket (empty_date);
-- From where somebody has come in before.
CREATE INDEX session_of_address ON session (customer_id, peer);
