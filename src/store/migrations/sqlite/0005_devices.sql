-- How phones are enrolled. It only adds.

-- Whether the person ever had a device that may approve. It outlives all of them, and the person's erasure: a sign-in alone makes an
-- approver of nobody's phone a second time.
ALTER TABLE users ADD COLUMN had_approver integer NOT NULL DEFAULT 0;

-- What the app knows the phone itself by, if it does: an app that was installed anew takes the place of the one before.
ALTER TABLE enrolments ADD COLUMN phone text;
CREATE INDEX enrolments_of_device ON enrolments (workspace, id);

-- The digits on the new phone's screen; NULL for whatever else must be proved.
ALTER TABLE challenges ADD COLUMN number text;

-- A push token that another row has, until a push was seen to reach who claims it: one for each device.
CREATE TABLE claimed_tokens (
    workspace text NOT NULL,
    user_id text NOT NULL,
    device text NOT NULL,
    platform text NOT NULL CHECK (platform IN ('apns', 'fcm')),
    app text NOT NULL,
    environment text NOT NULL CHECK (environment IN ('production', 'sandbox')),
    token text NOT NULL,
    locale text NOT NULL,
    claimed_at integer NOT NULL,
    PRIMARY KEY (workspace, user_id, device),
    FOREIGN KEY (workspace, user_id, device) REFERENCES enrolments (workspace, user_id, id) ON DELETE CASCADE
) STRICT;

-- Keys that were followed by another one: like those of retired devices, they never come back.
CREATE TABLE rolled_keys (
    workspace text NOT NULL,
    thumbprint text NOT NULL,
    user_id text NOT NULL,
    device text NOT NULL,
    rolled_at integer NOT NULL,
    PRIMARY KEY (workspace, thumbprint)
) STRICT;
CREATE INDEX rolled_keys_of_user ON rolled_keys (workspace, user_id);

-- Proofs that were used, until their time alone refuses them.
CREATE TABLE used_proofs (
    key_thumbprint text NOT NULL,
    jti text NOT NULL,
    until integer NOT NULL,
    PRIMARY KEY (key_thumbprint, jti)
) STRICT;
CREATE INDEX used_proofs_over ON used_proofs (until);
