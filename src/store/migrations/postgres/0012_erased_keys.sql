-- Keys of people who were erased, so that none of them registers again in its workspace. No person stands in it. It only adds. Kept.
--   device, key_jwk, erasure: of a phone that may still say that the erasure was not its person's: its id, its key, and the id of the
--   notice that told of the erasure. For a day; NULL afterwards, and of keys that were out of use before.
--   not_me_at, alerted: when one of the erasure's phones said so, and how many were told.
CREATE TABLE erased_keys (
    workspace text NOT NULL,
    thumbprint text NOT NULL,
    erased_at bigint NOT NULL,
    device text,
    key_jwk text,
    erasure text,
    not_me_at bigint,
    alerted bigint,
    PRIMARY KEY (workspace, thumbprint)
);
CREATE INDEX erased_keys_of_device ON erased_keys (workspace, device) WHERE device IS NOT NULL;
CREATE INDEX erased_keys_of_erasure ON erased_keys (workspace, erasure) WHERE erasure IS NOT NULL;
CREATE INDEX erased_keys_at ON erased_keys (erased_at) WHERE device IS NOT NULL;
