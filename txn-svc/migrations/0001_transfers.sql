-- Deposits and withdrawals as customers asked for them; asset-svc says whether they were booked.
CREATE TABLE transfer (
    id            uuid PRIMARY KEY,
    customer_id   bigint NOT NULL CHECK (customer_id > 0),
    type          text NOT NULL CHECK (type IN ('DEPOSIT', 'WITHDRAWAL')),
    amount        numeric(20,6) NOT NULL CHECK (amount > 0),
    iban          text CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}$'),
    status        text NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'REJECTED')),
    status_reason text,
    required      numeric(20,6) NOT NULL DEFAULT 0, -- REJECTED: what was needed, and what there was
    usable        numeric(20,6) NOT NULL DEFAULT 0,
    create_date   timestamptz NOT NULL,
    update_date   timestamptz NOT NULL,
    actor         text NOT NULL,
    CHECK ((type = 'WITHDRAWAL') = (iban IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX transfer_of_customer ON transfer (customer_id, create_date DESC, id DESC);
CREATE INDEX transfer_newest ON transfer (create_date DESC, id DESC);
CREATE INDEX transfer_pending ON transfer (create_date) WHERE status = 'PENDING';
