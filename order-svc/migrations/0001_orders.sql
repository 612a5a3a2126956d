-- Orders. order-svc alone decides an order's state; `version` grows by one at each change and stands in every event.
CREATE TABLE orders (
    id              uuid PRIMARY KEY,
    customer_id     bigint NOT NULL CHECK (customer_id > 0),
    client_order_id text CHECK (client_order_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    client_key      text,   -- client_order_id while it is taken: a REJECTED order gives it back
    asset           text NOT NULL CHECK (asset ~ '^[A-Z0-9.]{1,12}$' AND asset <> 'TRY'),
    side            text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    size            numeric(20,6) NOT NULL CHECK (size > 0),
    price           numeric(20,6) NOT NULL CHECK (price > 0),
    status          text NOT NULL CHECK (status IN ('NEW', 'PENDING', 'MATCHED', 'CANCELED', 'REJECTED')),
    status_reason   text,
    house_size      numeric(20,6) NOT NULL DEFAULT 0 CHECK (house_size >= 0),
    house_value     numeric(20,6) NOT NULL DEFAULT 0 CHECK (house_value >= 0),
    clearing_size   numeric(20,6) NOT NULL DEFAULT 0 CHECK (clearing_size >= 0),
    clearing_value  numeric(20,6) NOT NULL DEFAULT 0 CHECK (clearing_value >= 0),
    version         bigint NOT NULL CHECK (version > 0),
    books_version   bigint NOT NULL DEFAULT 0,   -- the version at which the books last answered that they stand
    required        numeric(20,6),               -- REJECTED: what was needed, and what there was
    usable          numeric(20,6),
    create_date     timestamptz NOT NULL,
    update_date     timestamptz NOT NULL,
    actor           text NOT NULL,
    CHECK (house_size + clearing_size <= size),
    CHECK ((status = 'MATCHED') = (house_size + clearing_size = size)),
    CHECK (status <> 'NEW' OR house_size + clearing_size = 0)
) WITH (fillfactor = 70);

CREATE INDEX orders_of_customer ON orders (customer_id, create_date DESC, id DESC);
CREATE INDEX orders_newest ON orders (create_date DESC, id DESC);
CREATE INDEX orders_open ON orders (customer_id) WHERE status IN ('NEW', 'PENDING');
CREATE INDEX orders_new ON orders (create_date) WHERE status = 'NEW';
CREATE UNIQUE INDEX orders_client_key ON orders (customer_id, client_key) WHERE client_key IS NOT NULL;

CREATE TABLE order_history (
    order_id uuid NOT NULL,
    version  bigint NOT NULL,
    status   text NOT NULL,
    at       timestamptz NOT NULL,
    reason   text,
    actor    text NOT NULL,
    PRIMARY KEY (order_id, version)
);
REVOKE UPDATE, DELETE ON order_history FROM orders_app;
