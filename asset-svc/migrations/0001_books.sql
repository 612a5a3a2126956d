-- The books. Every change of a balance is an entry whose postings sum to zero per asset; the journal only grows.
--
-- owner: a customer's id; the firm's own accounts are negative, one of each a lane, so that replicas don't queue for one
-- row: -(lane * 10 + 1) house, -(lane * 10 + 2) clearing, -(lane * 10 + 3) external (the outside world).
CREATE TABLE account (
    owner   bigint NOT NULL CHECK (owner <> 0),
    asset   text NOT NULL CHECK (asset ~ '^[A-Z0-9.]{1,12}$'),
    size    numeric(20,6) NOT NULL DEFAULT 0,
    usable  numeric(20,6) NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (owner, asset),
    CONSTRAINT usable_within_size CHECK (owner < 0 OR (usable >= 0 AND usable <= size)),
    CONSTRAINT firm_reserves_nothing CHECK (owner > 0 OR usable = size)
) WITH (fillfactor = 70);

CREATE TABLE journal (
    owner         bigint NOT NULL,
    asset         text NOT NULL,
    version       bigint NOT NULL CHECK (version > 0),
    entry_id      uuid NOT NULL,            -- the postings of one entry share it
    at            timestamptz NOT NULL,
    type          text NOT NULL CHECK (type IN ('DEPOSIT', 'WITHDRAWAL', 'BROUGHT_IN', 'RESERVE', 'RELEASE', 'TRADE')),
    amount        numeric(20,6) NOT NULL,
    usable_amount numeric(20,6) NOT NULL,
    size_before   numeric(20,6) NOT NULL,
    usable_before numeric(20,6) NOT NULL,
    size          numeric(20,6) NOT NULL,   -- after
    usable        numeric(20,6) NOT NULL,
    cause_type    text NOT NULL CHECK (cause_type IN ('ORDER', 'TRANSFER', 'ADMIN')),
    cause_id      uuid NOT NULL,
    actor         text NOT NULL,
    PRIMARY KEY (owner, asset, version),
    CONSTRAINT size_adds_up CHECK (size_before + amount = size),
    CONSTRAINT usable_adds_up CHECK (usable_before + usable_amount = usable)
);
CREATE INDEX journal_at ON journal USING brin (at);
REVOKE UPDATE, DELETE ON journal FROM assets_app;

-- What an order has set aside, and what was posted for it: the state of the order that the books stand at.
CREATE TABLE reservation (
    order_id       uuid PRIMARY KEY,
    customer_id    bigint NOT NULL,
    asset          text NOT NULL,           -- what is set aside: TRY for a BUY
    state          text NOT NULL CHECK (state IN ('OPEN', 'CAPTURED', 'RELEASED', 'REFUSED')),
    reserved       numeric(20,6) NOT NULL CHECK (reserved >= 0),
    house_size     numeric(20,6) NOT NULL CHECK (house_size >= 0),
    house_value    numeric(20,6) NOT NULL CHECK (house_value >= 0),
    clearing_size  numeric(20,6) NOT NULL CHECK (clearing_size >= 0),
    clearing_value numeric(20,6) NOT NULL CHECK (clearing_value >= 0),
    version        bigint NOT NULL CHECK (version > 0),
    required       numeric(20,6) NOT NULL DEFAULT 0,  -- REFUSED: what was needed, and what there was
    usable         numeric(20,6) NOT NULL DEFAULT 0,
    CONSTRAINT open_has_something CHECK ((state = 'OPEN') = (reserved > 0))
) WITH (fillfactor = 70);
CREATE INDEX reservation_open ON reservation (customer_id, asset) WHERE state = 'OPEN';

-- Deposits and withdrawals that were answered, so that the same request is answered alike.
CREATE TABLE booked_transfer (
    transfer_id uuid PRIMARY KEY,
    booked      boolean NOT NULL,
    required    numeric(20,6) NOT NULL,
    usable      numeric(20,6) NOT NULL
);
