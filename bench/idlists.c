/* Packed ids: 8 bytes each on the wire, one row an owner. */
#include "bench/idlists.h"

#include "common/base/mem.h"

bool idlists_load(struct bench *b, const char *sql, struct idlists *ret) {
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!bench_database(b) || !bench_query(b, sql, NULL, &r)) return false;
    *ret = (struct idlists){.by_owner = MAP_INIT};
    for (int row = 0; row < pg_rows(r); row++) {
        struct str packed = pg_text(r, row, 1);
        size_t n = packed.len / sizeof(uint64_t);
        struct idlist *l = mem_alloc(sizeof(*l) + n * sizeof(uint64_t));
        l->owner = pg_int8(r, row, 0);
        l->count = n;
        for (size_t i = 0; i < n; i++) l->ids[i] = be64_load(packed.data + i * sizeof(uint64_t));
        mem_free(map_put(&ret->by_owner, l->owner, l));
        ret->total += n;
    }
    return true;
}

void idlists_fini(struct idlists *l) {
    size_t i = 0;
    for (struct map_entry *e; (e = map_next(&l->by_owner, &i));) mem_free(e->value);
    map_fini(&l->by_owner);
    *l = (struct idlists){.by_owner = MAP_INIT};
}

const struct idlist *idlists_get(const struct idlists *l, uint64_t owner) {
    return map_get(&l->by_owner, owner);
}
