-- Who was erased and when, so that what Kafka still holds of them from before brings nothing of theirs back. Ids only. It only adds. Kept
-- for 31 days.
CREATE TABLE erased_people (
    workspace text NOT NULL,
    user_id text NOT NULL,
    erased_at bigint NOT NULL,
    PRIMARY KEY (workspace, user_id)
);
CREATE INDEX erased_people_at ON erased_people (erased_at);
