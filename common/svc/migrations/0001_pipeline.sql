-- What every service has beside its own tables: its lanes, what they publish, what they have consumed, and the
-- idempotency keys of its commands. The column names of outbox are those of Debezium's outbox event router.

-- Raises SQLSTATE `code` unless `ok`: a compare-and-set that hits nothing must end the transaction it stands in.
CREATE FUNCTION must_be(ok boolean, code text, what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF ok THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = what;
END $$;

-- How many partitions a topic has: fixed when the topic is first named here, so that a customer never changes partition.
CREATE TABLE topic (
    name       text PRIMARY KEY,
    partitions integer NOT NULL CHECK (partitions BETWEEN 1 AND 64)
);

-- One row a lane. batch_id is the random id of the last committed batch: after a COMMIT whose answer was lost, it tells
-- whether that batch is in. published_upto is a lower bound: Kafka has the truth.
CREATE TABLE lane (
    lane           integer PRIMARY KEY CHECK (lane BETWEEN 1 AND 64),
    epoch          uuid NOT NULL DEFAULT gen_random_uuid(),
    batch_id       uuid NOT NULL DEFAULT gen_random_uuid(),
    last_seq       bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    published_upto bigint NOT NULL DEFAULT 0 CHECK (published_upto >= 0)
) WITH (fillfactor = 50);

-- The last part_seq that a lane gave out for a topic's partition.
CREATE TABLE lane_counter (
    lane      integer NOT NULL REFERENCES lane,
    topic     text NOT NULL,
    partition integer NOT NULL,
    part_seq  bigint NOT NULL CHECK (part_seq > 0),
    PRIMARY KEY (lane, topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE outbox (
    lane          integer NOT NULL,
    seq           bigint NOT NULL,
    id            uuid NOT NULL,
    aggregatetype text NOT NULL,   -- the topic
    aggregateid   text NOT NULL,   -- the record's key: the customer id
    type          text NOT NULL,
    payload       text NOT NULL CHECK (octet_length(payload) <= 900000),
    partition     integer NOT NULL,
    part_seq      bigint NOT NULL,
    epoch         uuid NOT NULL,
    traceparent   text,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (lane, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

-- Where reading goes on, moved by compare-and-set in the transaction of the effects.
CREATE TABLE consumer_position (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- The last part_seq seen of each source's lane in a partition: the next must be that plus one.
CREATE TABLE consumer_sequence (
    topic     text NOT NULL,
    partition integer NOT NULL,
    source    text NOT NULL,
    lane      integer NOT NULL,
    epoch     uuid NOT NULL,
    part_seq  bigint NOT NULL,
    PRIMARY KEY (topic, partition, source, lane)
) WITH (fillfactor = 50);

-- An event that could not be decoded or decided, with its reason; the partition went on.
CREATE TABLE parked_event (
    id          uuid PRIMARY KEY,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    record_offset bigint NOT NULL,
    record_key  text NOT NULL,
    type        text NOT NULL,
    reason      text NOT NULL,
    record      text NOT NULL,
    parked_at   timestamptz NOT NULL,
    replayed_at timestamptz,
    UNIQUE (topic, partition, record_offset)
);

-- A key belongs to a customer and a route; it stands for the resource that the first request made.
CREATE TABLE idempotency (
    customer_id bigint NOT NULL,
    route       text NOT NULL,
    key         text NOT NULL CHECK (octet_length(key) BETWEEN 8 AND 255),
    meaning     text NOT NULL CHECK (octet_length(meaning) <= 100000),
    resource_id uuid NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (customer_id, route, key)
);

-- Customers, as auth-svc announced them.
CREATE TABLE customer (
    customer_id   bigint PRIMARY KEY CHECK (customer_id > 0),
    registered_at timestamptz NOT NULL
);
