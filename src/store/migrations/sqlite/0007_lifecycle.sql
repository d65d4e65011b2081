-- What became of people and workspaces at upstream, by its id, so that what is told twice counts once. It only adds. Kept for 31 days.

-- `user_id` is empty for everybody in the workspace. `done_at` is NULL while there is something left to do.
CREATE TABLE lifecycle (
    workspace text NOT NULL,
    id text NOT NULL,
    what text NOT NULL,
    user_id text NOT NULL,
    begun_at bigint NOT NULL,
    done_at bigint,
    PRIMARY KEY (workspace, id, what, user_id)
);
CREATE INDEX lifecycle_begun ON lifecycle (begun_at);
