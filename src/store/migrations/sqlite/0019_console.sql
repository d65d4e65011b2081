-- What a console asks for. It only adds.

-- A workspace's people who have a device that is not retired; the order of texts is that of their bytes here.
CREATE INDEX enrolments_people ON enrolments (workspace, user_id) WHERE retired_at IS NULL;

-- The trail of one action; that of a person has its indexes already (8).
CREATE INDEX audit_of_action ON audit (workspace, action, seq);
