-- More topics for the outbox, and what people are told about their devices. It only adds: programs that know the fifth version alone write
-- and publish what they did before. An old publisher keeps a lock on the table while a broker is away, for as long as that is, and whoever
-- waits for the table stops everybody else: so give up soon, and migrate again.
SET LOCAL lock_timeout = '5s';

-- jobs: notices about devices; outcomes: what phones say they showed; redrive: tests that a person sends to themselves.
ALTER TABLE outbox DROP CONSTRAINT outbox_topic_check,
    ADD CONSTRAINT outbox_topic_check CHECK (topic IN ('audit', 'decisions', 'jobs', 'outcomes', 'redrive'));

-- What happened to a person's devices, or, for admins, that somebody says it was not them. Written with the change that it tells of.
-- `seq` is its place; `id` is what a push names it by, the same for all who are told. Kept for 30 days.
--   about_user: of whom it tells, where that is somebody else.
--   device: the one that was enrolled, promoted or removed, or by which somebody said that it was not them; NULL: all of them.
--   way: in which a device was promoted.
--   by_role: of somebody else who did it; NULL: the person's own sign-in or phone.
--   disowned, event: what somebody says was not them: a notice's kind, or `request` with the request's event.
--   not_me_at, not_me_by: when and by which device the person said that it was not them.
CREATE TABLE notices (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace text NOT NULL,
    user_id text NOT NULL,
    id text NOT NULL,
    at bigint NOT NULL,
    what text NOT NULL,
    type text NOT NULL,
    about_user text,
    device text,
    way text,
    by_role text,
    disowned text,
    event text,
    not_me_at bigint,
    not_me_by text,
    UNIQUE (workspace, user_id, id)
);
CREATE INDEX notices_recent ON notices (workspace, user_id, seq);
CREATE INDEX notices_about ON notices (workspace, about_user) WHERE about_user IS NOT NULL;
CREATE INDEX notices_at ON notices (at);
