-- The oracle: what a feed is, written once in plain SQL and run by no daemon. Tests, bench and fanfarectl verify compare what HTTP serves with it.
--
--   feed(u) = posts by u and by those u follows, minus deleted, minus hidden by a block in either direction, minus muted; newest id first.

CREATE FUNCTION oracle_feed(readers bigint[], depth integer) RETURNS TABLE (reader bigint, post_id bigint, author_id bigint)
    LANGUAGE sql STABLE
AS $$
    SELECT r.reader, f.id, f.author_id
    FROM unnest(readers) AS r (reader)
    CROSS JOIN LATERAL (
        SELECT p.id, a.author AS author_id
        FROM (SELECT w.followee AS author FROM following w WHERE w.shard = shard_of(r.reader) AND w.follower = r.reader
              UNION
              SELECT r.reader) AS a
        CROSS JOIN LATERAL (
            SELECT id FROM posts
            WHERE shard = shard_of(a.author) AND posts.author_id = a.author AND deleted_at IS NULL
            ORDER BY id DESC
            LIMIT depth
        ) AS p
        WHERE NOT EXISTS (SELECT FROM blocks b
                          WHERE b.shard = shard_of(r.reader) AND b.blocker = r.reader AND b.blocked = a.author)
          AND NOT EXISTS (SELECT FROM blocked_by b
                          WHERE b.shard = shard_of(r.reader) AND b.blocked = r.reader AND b.blocker = a.author)
          AND NOT EXISTS (SELECT FROM mutes m
                          WHERE m.shard = shard_of(r.reader) AND m.muter = r.reader AND m.muted = a.author AND m.muted <> r.reader)
        ORDER BY p.id DESC
        LIMIT depth
    ) AS f
$$;
