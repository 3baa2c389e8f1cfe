-- Placement: what daemons poll, and the one way to change it (fanfarectl and node health).

ALTER TABLE cache_nodes
    ADD CONSTRAINT cache_nodes_name_length CHECK (octet_length(name) BETWEEN 1 AND 63),
    ADD CONSTRAINT cache_nodes_address_length CHECK (octet_length(address) BETWEEN 1 AND 127);

-- All slots of a tier, in order: node id (2 bytes, 0: none) | generation (4 bytes), big-endian.
CREATE FUNCTION placement_slots(p_tier smallint) RETURNS bytea
    LANGUAGE sql STABLE
AS $$
    SELECT string_agg(int2send(coalesce(node_id, 0::smallint)) || int4send(generation), ''::bytea ORDER BY slot)
    FROM cache_slots WHERE tier = p_tier
$$;

-- All nodes of a tier: id (2) | weight (4) | kind (2) | state (2) | length (4) name | length (4) address, big-endian.
CREATE FUNCTION placement_nodes(p_tier smallint) RETURNS bytea
    LANGUAGE sql STABLE
AS $$
    SELECT coalesce(string_agg(int2send(id) || int4send(weight)
                               || int2send((CASE kind WHEN 'redis' THEN 0 ELSE 1 END)::smallint)
                               || int2send((CASE state WHEN 'active' THEN 0 WHEN 'ejected' THEN 1 ELSE 2 END)::smallint)
                               || int4send(octet_length(name)) || convert_to(name, 'UTF8')
                               || int4send(octet_length(address)) || convert_to(address, 'UTF8'), ''::bytea ORDER BY id),
                    ''::bytea)
    FROM cache_nodes WHERE tier = p_tier
$$;

-- Commits a new table of a tier: the state of one node (p_node NULL: of none) and the new owners of slots (0: nobody), visible
-- together. False, and nothing is changed, when the table is no longer the one that the owners were computed from.
CREATE FUNCTION change_placement(p_tier smallint, p_version bigint, p_node smallint, p_state text, p_why text,
                                 p_slots integer[], p_owners integer[]) RETURNS boolean
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM cache_tiers WHERE id = p_tier AND version = p_version FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_node IS NOT NULL THEN
        UPDATE cache_nodes SET state = p_state, why = p_why, changed_at = clock_timestamp() WHERE id = p_node AND tier = p_tier;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END IF;
    UPDATE cache_slots s SET node_id = nullif(o.owner, 0)::smallint, generation = generation + 1
        FROM unnest(p_slots, p_owners) AS o (slot, owner)
        WHERE s.tier = p_tier AND s.slot = o.slot AND s.node_id IS DISTINCT FROM nullif(o.owner, 0)::smallint;
    UPDATE cache_tiers SET version = version + 1, changed_at = clock_timestamp() WHERE id = p_tier;
    RETURN true;
END $$;
