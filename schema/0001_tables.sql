-- Tables. Every table is hash-partitioned by an explicit shard that equals the shard in the id of the user or author it belongs to (see
-- common/domain/id.h), and the shard leads every primary key: a point query names it and touches one partition, and the tables spread
-- over a distributed PostgreSQL by the same column. Control tables (cache_*) are small and not sharded.

CREATE FUNCTION shard_of(id bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((id >> 12) & 1023)::smallint;

CREATE SEQUENCE id_sequence AS integer MINVALUE 0 MAXVALUE 4095 START 0 CYCLE;

-- milliseconds since 2024-01-01 | shard | sequence
CREATE FUNCTION mint_id(shard integer) RETURNS bigint
    LANGUAGE sql VOLATILE
    RETURN (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1704067200000) << 22)
           | ((shard & 1023)::bigint << 12)
           | nextval('id_sequence');

CREATE TABLE users (
    shard           smallint NOT NULL,
    id              bigint NOT NULL,
    handle          text NOT NULL,
    name            text NOT NULL,
    picture         text,
    password_hash   text,                       -- argon2id; NULL: cannot log in (imported)
    following_count integer NOT NULL DEFAULT 0, -- kept by follow, unfollow, block; its row is the lock of the user's relations
    PRIMARY KEY (shard, id)
) PARTITION BY HASH (shard);

-- Handles are unique across shards: a table of their own, partitioned by the handle.
CREATE TABLE handles (
    handle  text NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL
) PARTITION BY HASH (handle);

CREATE TABLE following (
    shard    smallint NOT NULL, -- of follower
    follower bigint NOT NULL,
    followee bigint NOT NULL,
    PRIMARY KEY (shard, follower, followee)
) PARTITION BY HASH (shard);

CREATE TABLE followers (
    shard    smallint NOT NULL, -- of followee
    followee bigint NOT NULL,
    follower bigint NOT NULL,
    PRIMARY KEY (shard, followee, follower)
) PARTITION BY HASH (shard);

CREATE TABLE blocks (
    shard   smallint NOT NULL, -- of blocker
    blocker bigint NOT NULL,
    blocked bigint NOT NULL,
    PRIMARY KEY (shard, blocker, blocked)
) PARTITION BY HASH (shard);

CREATE TABLE blocked_by (
    shard   smallint NOT NULL, -- of blocked
    blocked bigint NOT NULL,
    blocker bigint NOT NULL,
    PRIMARY KEY (shard, blocked, blocker)
) PARTITION BY HASH (shard);

CREATE TABLE mutes (
    shard smallint NOT NULL, -- of muter
    muter bigint NOT NULL,
    muted bigint NOT NULL,
    PRIMARY KEY (shard, muter, muted)
) PARTITION BY HASH (shard);

CREATE TABLE posts (
    shard       smallint NOT NULL, -- of the author, and in the id
    id          bigint NOT NULL,
    author_id   bigint NOT NULL,
    in_reply_to bigint,
    deleted_at  timestamptz,
    text        text NOT NULL,
    PRIMARY KEY (shard, id)
) PARTITION BY HASH (shard);
CREATE INDEX posts_by_author ON posts (shard, author_id, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE post_counters ( -- no row: both 0
    shard   smallint NOT NULL, -- of the post
    post_id bigint NOT NULL,
    likes   bigint NOT NULL DEFAULT 0,
    replies bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, post_id)
) PARTITION BY HASH (shard);

CREATE TABLE likes (
    shard   smallint NOT NULL, -- of the post
    post_id bigint NOT NULL,
    user_id bigint NOT NULL,
    PRIMARY KEY (shard, post_id, user_id)
) PARTITION BY HASH (shard);

-- First answers by Idempotency-Key: the post's own row and the author as he was shown make the answer again.
CREATE TABLE idempotency_keys (
    shard        smallint NOT NULL, -- of the user
    user_id      bigint NOT NULL,
    key          text NOT NULL,
    request_hash bigint NOT NULL,   -- of the request body: the same key with another body is refused
    post_id      bigint NOT NULL,
    author_json  text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, user_id, key)
) PARTITION BY HASH (shard);

-- Fan-out jobs that are not done: the truth behind the queue. position: last follower id delivered to, 0 before the first slice.
CREATE TABLE outbox (
    shard       smallint NOT NULL, -- of the post
    post_id     bigint NOT NULL,
    author_id   bigint NOT NULL,
    position    bigint NOT NULL DEFAULT 0,
    traceparent text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    swept_at    timestamptz,
    PRIMARY KEY (shard, post_id)
) PARTITION BY HASH (shard);

-- Cache invalidations that nobody has confirmed yet. targets: pairs (tier, id), flattened; tiers as in cache_tiers.
CREATE TABLE invalidations (
    shard      smallint NOT NULL,
    id         bigint NOT NULL,
    targets    bigint[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard, id)
) PARTITION BY HASH (shard);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['users', 'handles', 'following', 'followers', 'blocks', 'blocked_by', 'mutes', 'posts', 'post_counters',
                             'likes', 'idempotency_keys', 'outbox', 'invalidations'] LOOP
        FOR i IN 0..15 LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 16, REMAINDER %s)', t || '_p' || i, t, i);
        END LOOP;
    END LOOP;
END $$;

CREATE TABLE cache_tiers (
    id         smallint PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    version    bigint NOT NULL DEFAULT 1, -- rises with every change of the tier's nodes or slots
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO cache_tiers (id, name) VALUES (0, 'timeline'), (1, 'content'), (2, 'users'), (3, 'graph'), (4, 'actions'), (5, 'counters');

CREATE TABLE cache_nodes (
    id         smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tier       smallint NOT NULL REFERENCES cache_tiers,
    name       text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('redis', 'memcached')),
    address    text NOT NULL,
    weight     integer NOT NULL DEFAULT 100 CHECK (weight >= 0),
    state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ejected', 'removed')),
    why        text,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tier, name)
);

CREATE TABLE cache_slots (
    tier       smallint NOT NULL REFERENCES cache_tiers,
    slot       smallint NOT NULL CHECK (slot BETWEEN 0 AND 4095),
    node_id    smallint REFERENCES cache_nodes, -- NULL: no live node
    generation integer NOT NULL DEFAULT 0,      -- rises with every change of node_id; part of every key
    PRIMARY KEY (tier, slot)
);
INSERT INTO cache_slots (tier, slot) SELECT t.id, s FROM cache_tiers t, generate_series(0, 4095) s;
