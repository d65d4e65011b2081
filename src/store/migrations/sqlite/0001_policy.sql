-- The policy store. Ids are 1 to 128 bytes of printable ASCII; moments are milliseconds since 1970-01-01T00:00:00Z.

-- One random name for this store. Cache keys carry it, so that a restored backup is not outvoted by newer cached versions.
CREATE TABLE incarnation (
    one integer PRIMARY KEY CHECK (one = 1),
    id text NOT NULL
) STRICT;

-- `version` rises with every write to the workspace or its settings; a row's own `version` is the one that wrote it.
CREATE TABLE workspaces (
    id text PRIMARY KEY,
    display_name text NOT NULL,
    detail text NOT NULL CHECK (detail IN ('minimal', 'full')),
    version integer NOT NULL
) STRICT;

-- A type without a row is enabled.
CREATE TABLE workspace_settings (
    workspace text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    type text NOT NULL,
    setting text NOT NULL CHECK (setting IN ('disabled', 'enabled', 'enforced')),
    version integer NOT NULL,
    PRIMARY KEY (workspace, type)
) STRICT;

-- `version` rises with every write to the person's preferences or devices. Rows are never deleted: a version that started
-- anew would lose against the cached one. A person may precede their workspace's row.
CREATE TABLE users (
    workspace text NOT NULL,
    id text NOT NULL,
    version integer NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT;

-- A type without a row is on.
CREATE TABLE user_preferences (
    workspace text NOT NULL,
    user_id text NOT NULL,
    type text NOT NULL,
    preference text NOT NULL CHECK (preference IN ('on', 'off')),
    version integer NOT NULL,
    PRIMARY KEY (workspace, user_id, type),
    FOREIGN KEY (workspace, user_id) REFERENCES users (workspace, id)
) STRICT;

-- An installation (app, environment, token) belongs to one person within a workspace; the same phone may serve several
-- workspaces. The unique index begins with the token, so that a dead token finds all its rows.
CREATE TABLE devices (
    workspace text NOT NULL,
    user_id text NOT NULL,
    id text NOT NULL,
    platform text NOT NULL CHECK (platform IN ('apns', 'fcm')),
    app text NOT NULL,
    environment text NOT NULL CHECK (environment IN ('production', 'sandbox')),
    token text NOT NULL,
    locale text NOT NULL,
    registered_at integer NOT NULL,
    last_seen integer NOT NULL,
    version integer NOT NULL,
    PRIMARY KEY (workspace, user_id, id),
    UNIQUE (token, app, environment, workspace),
    FOREIGN KEY (workspace, user_id) REFERENCES users (workspace, id)
) STRICT;

-- Events that no longer matter, remembered until the last copy of them has expired.
CREATE TABLE withdrawals (
    workspace text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    until integer NOT NULL,
    PRIMARY KEY (workspace, type, event)
) STRICT;
CREATE INDEX withdrawals_until ON withdrawals (until);
