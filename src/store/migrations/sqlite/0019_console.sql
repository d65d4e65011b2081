-- What a console asks for. It only adds.

-- Since when nothing reaches a phone whose token its provider called dead; NULL while something may, and for what was never reached.
ALTER TABLE enrolments ADD COLUMN unreachable_since integer;

-- A workspace's people who have a device that is not retired; the order of texts is that of their bytes here.
CREATE INDEX enrolments_people ON enrolments (workspace, user_id) WHERE retired_at IS NULL;

-- The trail of one person, as who acted and as whom it concerned, and of one action.
CREATE INDEX audit_by_actor ON audit (workspace, actor, seq);
CREATE INDEX audit_of_target ON audit (workspace, target_user, seq) WHERE target_user IS NOT NULL;
CREATE INDEX audit_of_action ON audit (workspace, action, seq);
