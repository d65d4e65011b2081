-- Whether upstream's outcomes were told of a mark: not before something is known to have been meant for that device. It only adds; an older
-- program tells of each.
ALTER TABLE seen_marks ADD COLUMN told bigint NOT NULL DEFAULT 1 CHECK (told IN (0, 1));
CREATE INDEX seen_marks_waiting ON seen_marks (workspace, user_id, type, event, device) WHERE told = 0;
CREATE INDEX seen_marks_of_device ON seen_marks (workspace, user_id, device, seen_at);
