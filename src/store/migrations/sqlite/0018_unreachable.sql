-- Since when nothing reaches a phone whose token its provider called dead; NULL while something may, and for what was never reached. It only
-- adds.
ALTER TABLE enrolments ADD COLUMN unreachable_since integer;
