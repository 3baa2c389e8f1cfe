/*
 * What a fetched part of a timeline proves (see the header for the invariant it rests on).
 *
 * The bound of a prefix comes from its last entry in list order, so it is taken before the entries are sorted. The mark
 * comes from the header read after the entries: a trim between the two has raised it above what it dropped.
 */
#include "common/domain/view.h"

#include "common/domain/id.h"

static uint64_t prefix_bound(const struct entry *entries, size_t count, uint64_t lateness_ms) {
    if (count == 0) return ID_MAX; /* nothing was seen, so nothing is known */
    uint64_t last = id_plus_ms(entries[count - 1].post_id, lateness_ms);
    return last < ID_MAX ? last + 1 : ID_MAX;
}

struct view view_make(struct entry *entries, size_t count, bool whole, struct timeline_header before,
                      struct timeline_header after, uint64_t lateness_ms) {
    uint64_t complete_from = after.mark;
    if (!whole) {
        uint64_t bound = prefix_bound(entries, count, lateness_ms);
        if (bound > complete_from) complete_from = bound;
    }
    bool same = before.state == TIMELINE_COMPLETE && after.state == TIMELINE_COMPLETE && before.nonce == after.nonce;
    if (!same || complete_from > ID_MAX) complete_from = ID_MAX;
    return (struct view){entries, entries_normalise(entries, count), complete_from, whole};
}
