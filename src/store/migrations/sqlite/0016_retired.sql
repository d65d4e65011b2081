-- Devices that were retired long ago leave their key's thumbprint in rolled_keys, so that it never comes back, and go. It only adds.
CREATE INDEX enrolments_retired ON enrolments (retired_at) WHERE retired_at IS NOT NULL;
