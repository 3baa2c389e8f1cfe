-- Unblocking takes the same locks as blocking, in the same order. Without them a block that commits between the two deletions lost its
-- row in blocked_by but kept the one in blocks: the blocked user went on seeing, and could follow, whoever had blocked him.

CREATE OR REPLACE FUNCTION unblock_user(p_blocker bigint, p_blocked bigint, OUT status text, OUT invalidation bigint, OUT targets bigint[])
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM users WHERE shard = shard_of(least(p_blocker, p_blocked)) AND id = least(p_blocker, p_blocked) FOR UPDATE;
    PERFORM FROM users WHERE shard = shard_of(greatest(p_blocker, p_blocked)) AND id = greatest(p_blocker, p_blocked) FOR UPDATE;
    DELETE FROM blocks WHERE shard = shard_of(p_blocker) AND blocker = p_blocker AND blocked = p_blocked;
    status := CASE WHEN FOUND THEN 'unblocked' ELSE 'already' END;
    DELETE FROM blocked_by WHERE shard = shard_of(p_blocked) AND blocked = p_blocked AND blocker = p_blocker;
    targets := ARRAY[3, p_blocker, 3, p_blocked];
    invalidation := add_invalidation(p_blocker, targets);
END $$;
