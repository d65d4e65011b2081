-- With which of its person's sessions a device was enrolled: when its token was issued, in milliseconds. What ends a person's sessions and is
-- told late spares what a later session enrolled. NULL: it was imported, or enrolled by a version before. It only adds.
ALTER TABLE enrolments ADD COLUMN session integer;
