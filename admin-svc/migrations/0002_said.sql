-- What the services have said of what another must agree with: the audit across services compares it (checks/). Of orders,
-- order-svc's word stands in book_order.
ALTER TABLE book_order
    ADD COLUMN matched_value numeric(20,6),
    ADD COLUMN told_at timestamptz;   -- when this was told; NULL: before it was kept

-- What the books last said of an order, and to which order event that was the answer.
CREATE TABLE posted_order (
    order_id       uuid PRIMARY KEY,
    customer_id    bigint NOT NULL,
    version        bigint NOT NULL,   -- of the order: at which the books stand
    reserved       numeric(20,6) NOT NULL,
    matched_size   numeric(20,6),     -- posted; NULL: told by a version that did not say
    matched_value  numeric(20,6),
    asked_lane     integer NOT NULL,  -- 0: told by a version that did not say
    asked_partition integer NOT NULL,
    asked_part_seq bigint NOT NULL,
    told_at        timestamptz NOT NULL
) WITH (fillfactor = 70);

-- What the books were asked for, and how they answered: each once.
CREATE TABLE exchange (
    kind        text NOT NULL CHECK (kind IN ('TRANSFER', 'ACCOUNT')),
    id          uuid NOT NULL,
    customer_id bigint NOT NULL,
    asked       integer NOT NULL,
    done        integer NOT NULL,     -- answered: booked, opened
    refused     integer NOT NULL,
    amount      numeric(20,6),        -- asked for; NULL: not heard of it, or of no amount
    required    numeric(20,6),        -- what the answer was about
    asked_at    timestamptz,
    answered_at timestamptz,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 70);

-- Since when all that was said is here. Where asset-events were read before, answers to what was asked before are not; a
-- replica of the version before may read on for a moment.
CREATE TABLE said_since (
    at timestamptz NOT NULL
);
INSERT INTO said_since
SELECT CASE WHEN EXISTS (SELECT FROM consumer_position) THEN now() + interval '1 min' ELSE '-infinity' END;
REVOKE INSERT, UPDATE, DELETE ON said_since FROM admin_app;
