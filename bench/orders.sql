-- The reference: one hand-written transaction that does an order's work in one database.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.balance (customer bigint PRIMARY KEY, size numeric(20,6) NOT NULL, usable numeric(20,6) NOT NULL,
    CHECK (0 <= usable AND usable <= size)) WITH (fillfactor = 70);
CREATE TABLE bench.orders (id uuid PRIMARY KEY, customer bigint NOT NULL, asset text NOT NULL, side text NOT NULL,
    size numeric(20,6) NOT NULL, price numeric(20,6) NOT NULL, status text NOT NULL, created timestamptz NOT NULL);
CREATE INDEX ON bench.orders (customer, created DESC, id DESC);
CREATE TABLE bench.journal (id uuid PRIMARY KEY, customer bigint NOT NULL, order_id uuid NOT NULL, amount numeric(20,6) NOT NULL,
    usable numeric(20,6) NOT NULL, created timestamptz NOT NULL);
INSERT INTO bench.balance SELECT c, 1000000000, 1000000000 FROM generate_series(1, 1000) AS c;
