-- The keys of a shard in which something waits, one after the other, so that a key that waits much keeps no other key waiting. It only adds.
-- An index has no room for a long key: the first 128 bytes take turns, as many as an id may have.
CREATE INDEX outbox_turns ON outbox (topic, shard, coalesce(substr(key, 1, 128), x''), id) WHERE published_at IS NULL;
