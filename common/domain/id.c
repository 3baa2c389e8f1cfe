/* Ids: the parts that are not one line. */
#include "common/domain/id.h"

uint64_t id_plus_ms(uint64_t id, uint64_t ms) {
    if (id >= ID_MAX || ms > (ID_MAX - id) >> 22) return ID_MAX;
    return id + (ms << 22);
}

bool id_parse(struct str text, uint64_t *ret) {
    uint64_t id;
    if (text.len == 0 || text.len >= ID_TEXT_MAX || text.data[0] == '0') return false;
    if (!str_u64(text, &id) || id > ID_MAX) return false;
    *ret = id;
    return true;
}
