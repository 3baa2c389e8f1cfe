/*
 * Recomputing a tier's slots from its nodes, blocking: for fanfarectl and set-up. The same decision and the same
 * function of the database as a daemon's change of state, so the two may run at once: who finds the version moved
 * computes again.
 */
#include "common/base/mem.h"
#include "common/store/placement_table.h"

#define ATTEMPTS 20

static enum err read_table(struct pg_sync *db, enum tier tier, struct placement_table **ret, char **ret_message) {
    struct arena arena;
    struct pg_params params;
    struct pg_result *r;
    arena_init(&arena, 64);
    pg_params_init(&params, &arena);
    pg_param_int4(&params, (int32_t)tier);
    enum err err = pg_sync_exec(db,
                                "SELECT version, placement_nodes(id), placement_slots(id) FROM cache_tiers "
                                "WHERE id = $1::integer",
                                &params, &r, ret_message);
    arena_fini(&arena);
    if (err != ERR_OK) return err;
    err = pg_rows(r) == 1 && !pg_null(r, 0, 2)
              ? placement_table_decode(pg_int8(r, 0, 0), pg_text(r, 0, 1), pg_text(r, 0, 2), ret)
              : ERR_NOT_FOUND;
    if (err != ERR_OK && ret_message) *ret_message = mem_printf("tier %s: %s", tier_name(tier), err_text(err));
    pg_result_free(&r);
    return err;
}

static enum err change(struct pg_sync *db, enum tier tier, uint64_t version, const int32_t *slots,
                       const int32_t *owners, size_t count, bool *ret_done, char **ret_message) {
    struct arena arena;
    struct pg_params params;
    struct pg_result *r;
    arena_init(&arena, 16384);
    pg_params_init(&params, &arena);
    pg_param_int4(&params, (int32_t)tier);
    pg_param_int8(&params, version);
    pg_param_int4_array(&params, slots, count);
    pg_param_int4_array(&params, owners, count);
    enum err err =
        pg_sync_exec(db, "SELECT change_placement($1::integer::smallint, $2::bigint, NULL, NULL, NULL, $3, $4)",
                     &params, &r, ret_message);
    arena_fini(&arena);
    if (err != ERR_OK) return err;
    *ret_done = pg_bool(r, 0, 0);
    pg_result_free(&r);
    return ERR_OK;
}

enum err placement_rebalance_sync(struct pg_sync *db, enum tier tier, size_t *ret_moved, char **ret_message) {
    int32_t *slots = NEW_ARRAY(int32_t, RING_SLOTS), *owners = NEW_ARRAY(int32_t, RING_SLOTS);
    enum err err = ERR_BUSY;
    bool done = false;
    size_t moved = 0;
    for (int attempt = 0; attempt < ATTEMPTS && !done; attempt++) {
        struct placement_table *t;
        err = read_table(db, tier, &t, ret_message);
        if (err != ERR_OK) break;
        moved = placement_table_plan(t, 0, NODE_ACTIVE, slots, owners);
        err = change(db, tier, t->version, slots, owners, moved, &done, ret_message);
        placement_table_unref(t);
        if (err != ERR_OK) break;
    }
    if (err == ERR_OK && !done) {
        err = ERR_BUSY;
        if (ret_message) *ret_message = mem_printf("tier %s keeps changing", tier_name(tier));
    }
    if (err == ERR_OK && ret_moved) *ret_moved = moved;
    mem_free(slots);
    mem_free(owners);
    return err;
}
