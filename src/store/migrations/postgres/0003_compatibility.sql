-- The oldest program that may work on this schema, by the version of its newest migration. A migration that only adds leaves it as it is;
-- one that takes away or changes what programs rely on raises it to the first version that does without.
CREATE TABLE compatibility (
    one integer PRIMARY KEY CHECK (one = 1),
    minimum_reader bigint NOT NULL
);
INSERT INTO compatibility (one, minimum_reader) VALUES (1, 1);
