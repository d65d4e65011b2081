-- From when on a person's sessions count: tokens that were issued before do not, because upstream revoked them or removed the person, or
-- because they were erased. Ids only. It only adds. Kept for as long as such a token could live.

-- `user_id` is empty for everybody in the workspace.
CREATE TABLE ended_sessions (
    workspace text NOT NULL,
    user_id text NOT NULL,
    not_before integer NOT NULL,
    PRIMARY KEY (workspace, user_id)
) STRICT;
CREATE INDEX ended_sessions_over ON ended_sessions (not_before);
