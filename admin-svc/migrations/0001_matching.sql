-- The book: every order as order-events last told it.
CREATE TABLE book_order (
    order_id    uuid PRIMARY KEY,
    customer_id bigint NOT NULL,
    asset       text NOT NULL,
    side        text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    price       numeric(20,6) NOT NULL,
    size        numeric(20,6) NOT NULL,
    matched     numeric(20,6) NOT NULL,
    status      text NOT NULL,
    version     bigint NOT NULL,
    create_date timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX book_order_pending ON book_order (asset, create_date, order_id) WHERE status = 'PENDING';

-- One request to match. BARRIER: asked order-svc how far the book must be read; REQUESTED: its orders are asked for; DONE.
CREATE TABLE match (
    match_id      uuid PRIMARY KEY,
    mode          text NOT NULL CHECK (mode = 'HOUSE'),
    asset         text,              -- all pending orders of this one; NULL: named ones, or all
    state         text NOT NULL CHECK (state IN ('BARRIER', 'REQUESTED', 'DONE')),
    reached       boolean NOT NULL,  -- order-svc has answered: match_mark tells how far to read
    legs          integer NOT NULL CHECK (legs >= 0),
    legs_open     integer NOT NULL CHECK (legs_open BETWEEN 0 AND legs),
    actor         text NOT NULL,
    create_date   timestamptz NOT NULL,
    complete_date timestamptz,
    CHECK ((state = 'DONE') = (complete_date IS NOT NULL)),
    CHECK (state <> 'DONE' OR legs_open = 0)
) WITH (fillfactor = 50);
CREATE INDEX match_newest ON match (create_date DESC, match_id DESC);
CREATE INDEX match_unfinished ON match (create_date) WHERE state <> 'DONE';

CREATE TABLE match_mark (
    match_id  uuid NOT NULL REFERENCES match,
    lane      integer NOT NULL,
    partition integer NOT NULL,
    part_seq  bigint NOT NULL,
    PRIMARY KEY (match_id, lane, partition)
);

-- One order of a match. FILLED: order-svc has filled it, the books have not answered yet.
CREATE TABLE match_leg (
    match_id uuid NOT NULL REFERENCES match,
    order_id uuid NOT NULL,
    position integer NOT NULL,
    state    text NOT NULL CHECK (state IN ('REQUESTED', 'FILLED', 'DONE')),
    settled  boolean NOT NULL,      -- the books have answered, perhaps before order-svc's word was read
    outcome  text CHECK (outcome IN ('MATCHED', 'PARTIALLY_MATCHED', 'ALREADY_MATCHED', 'REJECTED', 'UNMATCHED')),
    code     text,
    size     numeric(20,6) NOT NULL DEFAULT 0,
    price    numeric(20,6) NOT NULL DEFAULT 0,
    PRIMARY KEY (match_id, order_id),
    CHECK ((state = 'REQUESTED') = (outcome IS NULL))
) WITH (fillfactor = 70);
