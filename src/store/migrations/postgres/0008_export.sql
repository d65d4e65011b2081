-- What the audit trail says of one person, without reading all of a workspace's. It only adds.
CREATE INDEX audit_about ON audit (workspace, target_user, seq) WHERE target_user IS NOT NULL;
CREATE INDEX audit_by ON audit (workspace, actor, seq);
