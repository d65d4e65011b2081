-- The people: who changed what, what a person's devices are, what awaits an answer, and what others are still to be told. It only adds:
-- workers that know the first version alone go on working beside it. Moments are milliseconds since 1970-01-01T00:00:00Z.

-- NULL: nobody changed it through the API (it was imported).
ALTER TABLE workspace_settings ADD COLUMN changed_at integer;
ALTER TABLE workspace_settings ADD COLUMN changed_by text;
ALTER TABLE workspace_settings ADD COLUMN changed_role text;

-- What was changed, by whom. Ids only: names and addresses of people are not here, so that erasing a person leaves it whole.
-- `seq` is its place in the trail. Kept for 400 days after `at`; watchbell.audit on Kafka is for those who keep it longer.
CREATE TABLE audit (
    seq integer PRIMARY KEY AUTOINCREMENT,
    id text NOT NULL UNIQUE,
    workspace text NOT NULL,
    at integer NOT NULL,
    actor text NOT NULL,
    actor_role text NOT NULL,
    action text NOT NULL,
    type text,
    from_value text,
    to_value text,
    target_user text,
    target_device text
) STRICT;
CREATE INDEX audit_of_workspace ON audit (workspace, seq);
CREATE INDEX audit_at ON audit (at);

-- What is still to be written to Kafka, written with the change that it tells of, in one transaction. Taken shard by shard in the order
-- of `id`; records of one key share a shard. Kept for an hour after it was published.
CREATE TABLE outbox (
    id integer PRIMARY KEY AUTOINCREMENT,
    topic text NOT NULL CHECK (topic IN ('audit', 'decisions')),
    shard integer NOT NULL,
    key blob,
    payload blob NOT NULL,
    headers text NOT NULL,
    created_at integer NOT NULL,
    published_at integer
) STRICT;
CREATE INDEX outbox_waiting ON outbox (topic, shard, id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- What a device is to its person, apart from where its pushes go (`devices`): a row there goes with its token, a row here outlives it, so
-- that a phone whose token died or moved need not be enrolled anew. `id` is the same in both. A retired one keeps its name for what
-- it signed and answers nothing any more.
CREATE TABLE enrolments (
    workspace text NOT NULL,
    user_id text NOT NULL,
    id text NOT NULL,
    name text NOT NULL DEFAULT '',
    kind text NOT NULL DEFAULT 'phone' CHECK (kind IN ('phone', 'tablet', 'other')),
    model text NOT NULL DEFAULT '',
    key_jwk text,
    key_thumbprint text,
    state text NOT NULL DEFAULT 'receive_only' CHECK (state IN ('receive_only', 'approver')),
    reachable_since integer,
    permission text CHECK (permission IN ('allowed', 'denied', 'provisional')),
    time_sensitive integer CHECK (time_sensitive IN (0, 1)),
    quiet integer NOT NULL DEFAULT 0 CHECK (quiet IN (0, 1)),
    enrolled_at integer NOT NULL,
    promoted_at integer,
    promoted_by text,
    retired_at integer,
    PRIMARY KEY (workspace, user_id, id),
    FOREIGN KEY (workspace, user_id) REFERENCES users (workspace, id)
) STRICT;
CREATE INDEX enrolments_key ON enrolments (key_thumbprint);
INSERT INTO enrolments (workspace, user_id, id, enrolled_at) SELECT workspace, user_id, id, registered_at FROM devices;

-- What a device must prove: `hash` is all that is kept of the value. Used once, gone when it is over.
CREATE TABLE challenges (
    hash text PRIMARY KEY,
    purpose text NOT NULL CHECK (purpose IN ('register', 'reach', 'promote')),
    workspace text NOT NULL,
    user_id text NOT NULL,
    device text,
    wrong_tries integer NOT NULL DEFAULT 0,
    expires_at integer NOT NULL,
    used_at integer
) STRICT;
CREATE INDEX challenges_of_user ON challenges (workspace, user_id);
CREATE INDEX challenges_over ON challenges (expires_at);

-- Single-use tickets for promotion: `hash` is all that is kept of the value.
CREATE TABLE tickets (
    hash text PRIMARY KEY,
    workspace text NOT NULL,
    user_id text NOT NULL,
    issued_by text NOT NULL,
    issued_role text NOT NULL,
    issued_at integer NOT NULL,
    expires_at integer NOT NULL,
    used_at integer
) STRICT;
CREATE INDEX tickets_of_user ON tickets (workspace, user_id);
CREATE INDEX tickets_over ON tickets (expires_at);

-- What awaits a person's answer. Open until exactly one of answered and closed; the number and the detail go when it ends and 30 days
-- after it did, respectively. At most one of a source is open: a newer one supersedes it.
CREATE TABLE requests (
    workspace text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    user_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'decided', 'closed')),
    source text NOT NULL,
    record_key blob,
    traceparent text,
    number_required integer NOT NULL CHECK (number_required IN (0, 1)),
    match_number text,
    wrong_tries integer NOT NULL DEFAULT 0,
    detail text NOT NULL,
    occurred_at integer NOT NULL,
    expires_at integer NOT NULL,
    ended_at integer,
    closed_reason text CHECK (closed_reason IN ('expired', 'superseded', 'cancelled')),
    verb text CHECK (verb IN ('approve', 'deny', 'deny_not_me')),
    decision_id text,
    device text,
    jws text,
    key_thumbprint text,
    outbox_id integer,
    PRIMARY KEY (workspace, type, event, user_id),
    CHECK ((state = 'open') = (ended_at IS NULL)),
    CHECK ((state = 'closed') = (closed_reason IS NOT NULL)),
    CHECK ((state = 'decided') = (verb IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX requests_source ON requests (workspace, user_id, type, source) WHERE state = 'open' AND source <> '';
CREATE INDEX requests_pending ON requests (workspace, user_id, occurred_at) WHERE state = 'open';
CREATE INDEX requests_of_user ON requests (workspace, user_id);
CREATE INDEX requests_due ON requests (expires_at) WHERE state = 'open';
CREATE INDEX requests_ended ON requests (ended_at) WHERE state <> 'open';

-- A device's word that it showed a notification. Kept for 30 days.
CREATE TABLE seen_marks (
    workspace text NOT NULL,
    user_id text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    device text NOT NULL,
    seen_at integer NOT NULL,
    PRIMARY KEY (workspace, user_id, type, event, device)
) STRICT;
CREATE INDEX seen_marks_at ON seen_marks (seen_at);

-- The last 30 days of each person: what rang or did not, and what was answered. One row for each thing that can happen once.
CREATE TABLE activity (
    id integer PRIMARY KEY AUTOINCREMENT,
    workspace text NOT NULL,
    user_id text NOT NULL,
    at integer NOT NULL,
    what text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    device text NOT NULL,
    reason text NOT NULL,
    UNIQUE (workspace, user_id, type, event, device, what)
) STRICT;
CREATE INDEX activity_recent ON activity (workspace, user_id, at, id);
CREATE INDEX activity_at ON activity (at);

-- The answer to a request that carried an idempotency key, for whoever repeats it. `request` is a hash of what was asked, so that the
-- key with another question is told apart. Kept for a day.
CREATE TABLE idempotency_keys (
    workspace text NOT NULL,
    user_id text NOT NULL,
    key text NOT NULL,
    request text NOT NULL,
    status integer NOT NULL,
    answer text NOT NULL,
    created_at integer NOT NULL,
    PRIMARY KEY (workspace, user_id, key)
) STRICT;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- A person's role as of their last sign-in; without a row they count as a user. Kept until the person is erased.
CREATE TABLE known_roles (
    workspace text NOT NULL,
    user_id text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'super_admin', 'admin', 'user')),
    seen_at integer NOT NULL,
    PRIMARY KEY (workspace, user_id)
) STRICT;
