-- what: no event waits parked, because it could not be read or applied
SELECT id, topic, partition, record_offset, type FROM parked_event WHERE replayed_at IS NULL ORDER BY parked_at LIMIT 20;
