-- Publishing: many posts of many authors in one transaction. One row in, one row out; what is wrong with one row never fails another.
--
--   created         the post, its outbox row and its key are there; post_id, author_json; invalidation: the row to apply for a reply's target
--   replayed        the key was used with the same request: first_text, first_reply, post_id and author_json make the first answer again
--   key_reused      the key was used with another request
--   unknown_author  no such user
--   unknown_post    in_reply_to is not there, is deleted, or is hidden from the author by a block
--
-- p_replies: 0 for a post that is no reply. Ids are minted in the statement that inserts. Lock order: keys by (author, key), then counters by post; the caller gives no (author, key)
-- twice in a batch. A key that another transaction is just inserting is waited for, then read by a later statement, which sees it.

CREATE FUNCTION author_may_reply(p_author bigint, p_post bigint) RETURNS boolean
    LANGUAGE plpgsql STABLE
AS $$
DECLARE target_author bigint;
BEGIN
    SELECT p.author_id INTO target_author FROM posts p WHERE p.shard = shard_of(p_post) AND p.id = p_post AND p.deleted_at IS NULL;
    RETURN FOUND
        AND NOT EXISTS (SELECT FROM blocks b WHERE b.shard = shard_of(p_author) AND b.blocker = p_author AND b.blocked = target_author)
        AND NOT EXISTS (SELECT FROM blocked_by b WHERE b.shard = shard_of(p_author) AND b.blocked = p_author AND b.blocker = target_author);
END $$;

-- The generic plan: planning this for each batch would cost more than running it.
CREATE FUNCTION publish_posts(p_authors bigint[], p_texts text[], p_replies bigint[], p_keys text[], p_hashes bigint[], p_traces text[])
    RETURNS TABLE (ordinal bigint, status text, post_id bigint, author_json text, invalidation bigint, first_text text, first_reply bigint)
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_key   text;
    v_hash  bigint;
    v_author bigint;
    v_first record;
BEGIN
    FOR ordinal, status, post_id, author_json, invalidation, v_author, v_key, v_hash IN
        WITH input AS MATERIALIZED (
            SELECT i.n, i.author, shard_of(i.author) AS shard, i.body, nullif(i.reply, 0) AS reply, i.key, i.hash, i.trace, u.json,
                   CASE WHEN i.reply = 0 THEN true ELSE author_may_reply(i.author, i.reply) END AS reply_ok
            FROM unnest(p_authors, p_texts, p_replies, p_keys, p_hashes, p_traces) WITH ORDINALITY
                AS i (author, body, reply, key, hash, trace, n)
            LEFT JOIN LATERAL (
                SELECT '{"id":"' || w.id || '","handle":' || to_json(w.handle) || ',"name":' || to_json(w.name)
                       || ',"picture":' || coalesce(to_json(w.picture)::text, 'null') || '}' AS json
                FROM users w WHERE w.shard = shard_of(i.author) AND w.id = i.author
            ) AS u ON true
        ), keyed AS (
            INSERT INTO idempotency_keys (shard, user_id, key, request_hash, post_id, author_json)
            SELECT shard, author, key, hash, mint_id(shard), json
            FROM input WHERE key IS NOT NULL AND json IS NOT NULL AND reply_ok
            ORDER BY author, key
            ON CONFLICT DO NOTHING
            RETURNING user_id, key, post_id
        ), minted AS MATERIALIZED (
            SELECT i.n, i.author, i.shard, i.body, i.reply, i.trace, coalesce(k.post_id, mint_id(i.shard)) AS id
            FROM input i LEFT JOIN keyed k ON k.user_id = i.author AND k.key = i.key
            WHERE i.json IS NOT NULL AND i.reply_ok AND (i.key IS NULL OR k.post_id IS NOT NULL)
        ), new_posts AS (
            INSERT INTO posts (shard, id, author_id, in_reply_to, text) SELECT shard, id, author, reply, body FROM minted
        ), jobs AS (
            INSERT INTO outbox (shard, post_id, author_id, traceparent) SELECT shard, id, author, trace FROM minted
        ), replied AS MATERIALIZED (
            SELECT reply, count(*) AS replies FROM minted WHERE reply IS NOT NULL GROUP BY reply ORDER BY reply
        ), counters AS (
            INSERT INTO post_counters AS c (shard, post_id, replies) SELECT shard_of(reply), reply, replies FROM replied ORDER BY reply
            ON CONFLICT (shard, post_id) DO UPDATE SET replies = c.replies + excluded.replies
        ), stale AS (
            INSERT INTO invalidations (shard, id, targets)
            SELECT shard_of(reply), mint_id(shard_of(reply)), ARRAY[5, reply] FROM replied
            RETURNING id, targets[2] AS reply
        )
        SELECT i.n,
               CASE WHEN m.id IS NOT NULL THEN 'created' WHEN i.json IS NULL THEN 'unknown_author'
                    WHEN NOT i.reply_ok THEN 'unknown_post' ELSE 'conflict' END,
               m.id, i.json, s.id, i.author, i.key, i.hash
        FROM input i LEFT JOIN minted m ON m.n = i.n LEFT JOIN stale s ON s.reply = m.reply
    LOOP
        first_text := NULL;
        first_reply := NULL;
        -- A key that was used before gives its first answer, whatever became of what it replied to.
        IF v_key IS NOT NULL AND status IN ('conflict', 'unknown_post') THEN
            SELECT k.request_hash, k.post_id, k.author_json, p.text, p.in_reply_to INTO v_first
            FROM idempotency_keys k JOIN posts p ON p.shard = shard_of(k.post_id) AND p.id = k.post_id
            WHERE k.shard = shard_of(v_author) AND k.user_id = v_author AND k.key = v_key;
            IF FOUND THEN
                status := CASE WHEN v_first.request_hash = v_hash THEN 'replayed' ELSE 'key_reused' END;
                post_id := v_first.post_id;
                author_json := v_first.author_json;
                first_text := v_first.text;
                first_reply := v_first.in_reply_to;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
