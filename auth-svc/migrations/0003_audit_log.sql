-- Every security event: who did what to whom, from where and when. Written in the transaction of what it tells; never changed.
CREATE TABLE audit_log (
    id          uuid PRIMARY KEY,
    at          timestamptz NOT NULL,
    type        text NOT NULL CHECK (type ~ '^[a-z]+([._][a-z]+)+$'),
    actor       text CHECK (actor ~ '^(SYSTEM|(CUSTOMER|ADMIN):[0-9]+)$'), -- NULL: nobody knows who it was
    customer_id bigint CHECK (customer_id > 0),                            -- whom it concerns; NULL: nobody, or nobody we know
    session_id  uuid,
    address     text CHECK (octet_length(address) <= 64),                  -- from where; NULL: from inside
    request_id  text CHECK (octet_length(request_id) <= 64),
    detail      text CHECK (octet_length(detail) <= 400)
);
CREATE INDEX audit_log_by_time ON audit_log (at DESC, id DESC);
CREATE INDEX audit_log_by_customer ON audit_log (customer_id, at DESC, id DESC);
CREATE INDEX audit_log_by_type ON audit_log (type, at DESC, id DESC);

REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM auth_app;
