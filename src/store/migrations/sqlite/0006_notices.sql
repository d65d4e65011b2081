-- More topics for the outbox, and what people are told about their devices. It only adds: programs that know the fifth version alone write
-- and publish what they did before.

-- jobs: notices about devices; outcomes: what phones say they showed; redrive: tests that a person sends to themselves. SQLite changes no
-- constraint of a table, so there is another one; its ids go on where those of the first one were, because what was told is known by them.
CREATE TABLE wider_outbox (
    id integer PRIMARY KEY AUTOINCREMENT,
    topic text NOT NULL CHECK (topic IN ('audit', 'decisions', 'jobs', 'outcomes', 'redrive')),
    shard integer NOT NULL,
    key blob,
    payload blob NOT NULL,
    headers text NOT NULL,
    created_at integer NOT NULL,
    published_at integer
) STRICT;
INSERT INTO wider_outbox (id, topic, shard, key, payload, headers, created_at, published_at)
    SELECT id, topic, shard, key, payload, headers, created_at, published_at FROM outbox;
DELETE FROM sqlite_sequence WHERE name = 'wider_outbox';
INSERT INTO sqlite_sequence (name, seq) SELECT 'wider_outbox', seq FROM sqlite_sequence WHERE name = 'outbox';
DROP TABLE outbox;
ALTER TABLE wider_outbox RENAME TO outbox;
CREATE INDEX outbox_waiting ON outbox (topic, shard, id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- What happened to a person's devices, or, for admins, that somebody says it was not them. Written with the change that it tells of.
-- `seq` is its place; `id` is what a push names it by, the same for all who are told. Kept for 30 days.
--   about_user: of whom it tells, where that is somebody else.
--   device: the one that was enrolled, promoted or removed, or by which somebody said that it was not them; NULL: all of them.
--   way: in which a device was promoted.
--   by_role: of somebody else who did it; NULL: the person's own sign-in or phone.
--   disowned, event: what somebody says was not them: a notice's kind, or `request` with the request's event.
--   not_me_at, not_me_by: when and by which device the person said that it was not them.
CREATE TABLE notices (
    seq integer PRIMARY KEY AUTOINCREMENT,
    workspace text NOT NULL,
    user_id text NOT NULL,
    id text NOT NULL,
    at integer NOT NULL,
    what text NOT NULL,
    type text NOT NULL,
    about_user text,
    device text,
    way text,
    by_role text,
    disowned text,
    event text,
    not_me_at integer,
    not_me_by text,
    UNIQUE (workspace, user_id, id)
) STRICT;
CREATE INDEX notices_recent ON notices (workspace, user_id, seq);
CREATE INDEX notices_about ON notices (workspace, about_user) WHERE about_user IS NOT NULL;
CREATE INDEX notices_at ON notices (at);
