-- What people sent to themselves to see whether it arrives. `outbox_id` names the record by which it went to Kafka. It only adds. Kept for
-- 30 days, as what happened to it.
CREATE TABLE self_tests (
    workspace text NOT NULL,
    user_id text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    at bigint NOT NULL,
    outbox_id bigint NOT NULL,
    PRIMARY KEY (workspace, user_id, id)
);
CREATE INDEX self_tests_at ON self_tests (at);
