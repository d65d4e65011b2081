-- With which of a person's sessions a challenge was asked for: when its token was issued, in milliseconds. A session keeps so many open and
-- loses its oldest; no other one's. NULL: a device asked for it, or a version before. It only adds.
ALTER TABLE challenges ADD COLUMN session bigint;
