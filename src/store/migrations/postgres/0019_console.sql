-- What a console asks for. It only adds.

-- Since when nothing reaches a phone whose token its provider called dead; NULL while something may, and for what was never reached.
ALTER TABLE enrolments ADD COLUMN unreachable_since bigint;

-- A workspace's people in the order of their ids' bytes, whatever the database's own order of texts, so that a beginning of an id is a range.
CREATE INDEX known_roles_people ON known_roles (workspace, user_id COLLATE "C");
CREATE INDEX enrolments_people ON enrolments (workspace, user_id COLLATE "C") WHERE retired_at IS NULL;
CREATE INDEX user_preferences_people ON user_preferences (workspace, user_id COLLATE "C");

-- The trail of one person, as who acted and as whom it concerned, and of one action.
CREATE INDEX audit_by_actor ON audit (workspace, actor, seq);
CREATE INDEX audit_of_target ON audit (workspace, target_user, seq) WHERE target_user IS NOT NULL;
CREATE INDEX audit_of_action ON audit (workspace, action, seq);
