-- What a console asks for. It only adds. Who writes to these tables waits while it builds their indexes.

-- A workspace's people in the order of their ids' bytes, whatever the database's own order of texts, so that a beginning of an id is a range.
CREATE INDEX known_roles_people ON known_roles (workspace, user_id COLLATE "C");
CREATE INDEX enrolments_people ON enrolments (workspace, user_id COLLATE "C") WHERE retired_at IS NULL;
CREATE INDEX user_preferences_people ON user_preferences (workspace, user_id COLLATE "C");

-- The trail of one action; that of a person has its indexes already (8).
CREATE INDEX audit_of_action ON audit (workspace, action, seq);
