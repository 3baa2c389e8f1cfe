-- Writes that change what others may see: each is one call, one transaction, and returns
--   status        what happened, a word that the daemon maps to an answer
--   invalidation  row in invalidations to apply and delete (NULL: nothing to apply)
--   targets       its targets, pairs (tier, id): 0 timeline, 1 content, 2 users, 3 graph, 4 actions, 5 counters
-- A call repeated on what is already so succeeds and invalidates again: that is how a caller who got 503 makes sure.
-- Lock order: user rows in ascending id, then everything else.

CREATE FUNCTION add_invalidation(owner bigint, targets bigint[]) RETURNS bigint
    LANGUAGE sql VOLATILE
AS $$
    INSERT INTO invalidations (shard, id, targets) VALUES (shard_of(owner), mint_id(shard_of(owner)), targets) RETURNING id
$$;

CREATE FUNCTION sign_up(p_handle text, p_name text, p_picture text, p_password_hash text, OUT status text, OUT user_id bigint)
    LANGUAGE plpgsql
AS $$
BEGIN
    user_id := mint_id(floor(random() * 1024)::integer);
    INSERT INTO handles (handle, user_id) VALUES (p_handle, sign_up.user_id) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        status := 'taken';
        user_id := NULL;
        RETURN;
    END IF;
    INSERT INTO users (shard, id, handle, name, picture, password_hash)
        VALUES (shard_of(user_id), user_id, p_handle, p_name, p_picture, p_password_hash);
    status := 'created';
END $$;

CREATE FUNCTION update_profile(p_user bigint, p_name text, p_set_picture boolean, p_picture text,
                               OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE users SET name = coalesce(p_name, name), picture = CASE WHEN p_set_picture THEN p_picture ELSE picture END
        WHERE shard = shard_of(p_user) AND id = p_user;
    IF NOT FOUND THEN
        status := 'unknown';
        RETURN;
    END IF;
    status := 'updated';
    targets := ARRAY[2, p_user];
    invalidation := add_invalidation(p_user, targets);
END $$;

CREATE FUNCTION follow(p_follower bigint, p_followee bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
DECLARE n integer;
BEGIN
    SELECT following_count INTO n FROM users WHERE shard = shard_of(p_follower) AND id = p_follower FOR UPDATE;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM users WHERE shard = shard_of(p_followee) AND id = p_followee) THEN
        status := 'unknown';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM blocks WHERE shard = shard_of(p_follower) AND blocker = p_follower AND blocked = p_followee)
       OR EXISTS (SELECT FROM blocked_by WHERE shard = shard_of(p_follower) AND blocked = p_follower AND blocker = p_followee) THEN
        status := 'blocked';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM following WHERE shard = shard_of(p_follower) AND follower = p_follower AND followee = p_followee) THEN
        status := 'already';
    ELSIF n >= 5000 THEN
        status := 'limit';
        RETURN;
    ELSE
        INSERT INTO following VALUES (shard_of(p_follower), p_follower, p_followee);
        INSERT INTO followers VALUES (shard_of(p_followee), p_followee, p_follower);
        UPDATE users SET following_count = following_count + 1 WHERE shard = shard_of(p_follower) AND id = p_follower;
        status := 'followed';
    END IF;
    -- The timeline as well: the followee's earlier posts must show.
    targets := ARRAY[3, p_follower, 0, p_follower];
    invalidation := add_invalidation(p_follower, targets);
END $$;

-- Removes one follow edge; the follower's user row is locked by the caller.
CREATE FUNCTION remove_follow_edge(p_follower bigint, p_followee bigint) RETURNS boolean
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM following WHERE shard = shard_of(p_follower) AND follower = p_follower AND followee = p_followee;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM followers WHERE shard = shard_of(p_followee) AND followee = p_followee AND follower = p_follower;
    UPDATE users SET following_count = following_count - 1 WHERE shard = shard_of(p_follower) AND id = p_follower;
    RETURN true;
END $$;

CREATE FUNCTION unfollow(p_follower bigint, p_followee bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM users WHERE shard = shard_of(p_follower) AND id = p_follower FOR UPDATE;
    IF remove_follow_edge(p_follower, p_followee) THEN
        status := 'unfollowed';
    ELSE
        status := 'already';
    END IF;
    targets := ARRAY[3, p_follower];
    invalidation := add_invalidation(p_follower, targets);
END $$;

CREATE FUNCTION block_user(p_blocker bigint, p_blocked bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM users WHERE shard = shard_of(least(p_blocker, p_blocked)) AND id = least(p_blocker, p_blocked) FOR UPDATE;
    PERFORM FROM users WHERE shard = shard_of(greatest(p_blocker, p_blocked)) AND id = greatest(p_blocker, p_blocked) FOR UPDATE;
    IF NOT EXISTS (SELECT FROM users WHERE shard = shard_of(p_blocked) AND id = p_blocked)
       OR NOT EXISTS (SELECT FROM users WHERE shard = shard_of(p_blocker) AND id = p_blocker) THEN
        status := 'unknown';
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM blocks WHERE shard = shard_of(p_blocker) AND blocker = p_blocker AND blocked = p_blocked) THEN
        IF (SELECT count(*) FROM blocks WHERE shard = shard_of(p_blocker) AND blocker = p_blocker) >= 5000 THEN
            status := 'limit';
            RETURN;
        END IF;
        INSERT INTO blocks VALUES (shard_of(p_blocker), p_blocker, p_blocked);
        INSERT INTO blocked_by VALUES (shard_of(p_blocked), p_blocked, p_blocker);
        status := 'blocked';
    ELSE
        status := 'already';
    END IF;
    PERFORM remove_follow_edge(p_blocker, p_blocked);
    PERFORM remove_follow_edge(p_blocked, p_blocker);
    targets := ARRAY[3, p_blocker, 3, p_blocked];
    invalidation := add_invalidation(p_blocker, targets);
END $$;

CREATE FUNCTION unblock_user(p_blocker bigint, p_blocked bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM blocks WHERE shard = shard_of(p_blocker) AND blocker = p_blocker AND blocked = p_blocked;
    status := CASE WHEN FOUND THEN 'unblocked' ELSE 'already' END;
    DELETE FROM blocked_by WHERE shard = shard_of(p_blocked) AND blocked = p_blocked AND blocker = p_blocker;
    targets := ARRAY[3, p_blocker, 3, p_blocked];
    invalidation := add_invalidation(p_blocker, targets);
END $$;

CREATE FUNCTION mute_user(p_muter bigint, p_muted bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM users WHERE shard = shard_of(p_muter) AND id = p_muter FOR UPDATE;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM users WHERE shard = shard_of(p_muted) AND id = p_muted) THEN
        status := 'unknown';
        RETURN;
    END IF;
    IF (SELECT count(*) FROM mutes WHERE shard = shard_of(p_muter) AND muter = p_muter AND muted <> p_muted) >= 5000 THEN
        status := 'limit';
        RETURN;
    END IF;
    INSERT INTO mutes VALUES (shard_of(p_muter), p_muter, p_muted) ON CONFLICT DO NOTHING;
    status := CASE WHEN FOUND THEN 'muted' ELSE 'already' END;
    targets := ARRAY[3, p_muter];
    invalidation := add_invalidation(p_muter, targets);
END $$;

CREATE FUNCTION unmute_user(p_muter bigint, p_muted bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM mutes WHERE shard = shard_of(p_muter) AND muter = p_muter AND muted = p_muted;
    status := CASE WHEN FOUND THEN 'unmuted' ELSE 'already' END;
    targets := ARRAY[3, p_muter];
    invalidation := add_invalidation(p_muter, targets);
END $$;

CREATE FUNCTION delete_post(p_author bigint, p_post bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
DECLARE p posts;
BEGIN
    SELECT * INTO p FROM posts WHERE shard = shard_of(p_post) AND id = p_post FOR UPDATE;
    IF NOT FOUND THEN
        status := 'unknown';
        RETURN;
    END IF;
    IF p.author_id <> p_author THEN
        status := 'forbidden';
        RETURN;
    END IF;
    targets := ARRAY[1, p_post];
    IF p.deleted_at IS NULL THEN
        UPDATE posts SET deleted_at = now() WHERE shard = p.shard AND id = p_post;
        IF p.in_reply_to IS NOT NULL THEN
            UPDATE post_counters SET replies = replies - 1 WHERE shard = shard_of(p.in_reply_to) AND post_id = p.in_reply_to;
        END IF;
        status := 'deleted';
    ELSE
        status := 'already';
    END IF;
    IF p.in_reply_to IS NOT NULL THEN
        targets := targets || ARRAY[5, p.in_reply_to];
    END IF;
    invalidation := add_invalidation(p_post, targets);
END $$;

-- A like by somebody whom a block hides from the author (or the author from him) is 'unknown', as the post is to him.
CREATE FUNCTION like_post(p_user bigint, p_post bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
DECLARE author bigint;
BEGIN
    SELECT author_id INTO author FROM posts WHERE shard = shard_of(p_post) AND id = p_post AND deleted_at IS NULL FOR SHARE;
    IF NOT FOUND
       OR EXISTS (SELECT FROM blocks WHERE shard = shard_of(p_user) AND blocker = p_user AND blocked = author)
       OR EXISTS (SELECT FROM blocked_by WHERE shard = shard_of(p_user) AND blocked = p_user AND blocker = author) THEN
        status := 'unknown';
        RETURN;
    END IF;
    INSERT INTO likes VALUES (shard_of(p_post), p_post, p_user) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO post_counters AS c (shard, post_id, likes) VALUES (shard_of(p_post), p_post, 1)
            ON CONFLICT (shard, post_id) DO UPDATE SET likes = c.likes + 1;
        status := 'liked';
    ELSE
        status := 'already';
    END IF;
    targets := ARRAY[5, p_post];
    invalidation := add_invalidation(p_post, targets);
END $$;

CREATE FUNCTION unlike_post(p_user bigint, p_post bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM likes WHERE shard = shard_of(p_post) AND post_id = p_post AND user_id = p_user;
    IF FOUND THEN
        UPDATE post_counters SET likes = likes - 1 WHERE shard = shard_of(p_post) AND post_id = p_post;
        status := 'unliked';
    ELSE
        status := 'already';
    END IF;
    targets := ARRAY[5, p_post];
    invalidation := add_invalidation(p_post, targets);
END $$;
