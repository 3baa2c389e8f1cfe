/*
 * Codec of a queued job (the only user of msgpack).
 *
 * A queue holds what anybody wrote into it, so decoding is bounded: a length limit first; the outer array is recognised
 * by its one byte; and before the library sees an element its type byte must be that of a number or a string. So no
 * container that claims a billion elements, or nests, ever reaches an allocation.
 */
#include "common/domain/job.h"

#include <msgpack.h>
#include <stdbool.h>
#include <string.h>

#include "common/domain/id.h"

#define JOB_ELEMENTS  4
#define JOB_FIXARRAY  (0x90 | JOB_ELEMENTS)
#define JOB_BYTES_MAX 128

static int append(void *to, const char *bytes, size_t len) {
    buf_add(to, bytes, len);
    return 0;
}

void job_encode(const struct job *j, struct buf *to) {
    size_t trace = strnlen(j->traceparent, JOB_TRACEPARENT_MAX);
    msgpack_packer packer;
    msgpack_packer_init(&packer, to, append);
    msgpack_pack_array(&packer, JOB_ELEMENTS);
    msgpack_pack_uint64(&packer, JOB_FORMAT);
    msgpack_pack_uint64(&packer, j->post_id);
    msgpack_pack_uint64(&packer, j->author_id);
    msgpack_pack_str(&packer, trace);
    msgpack_pack_str_body(&packer, j->traceparent, trace);
}

/* Positive fixint, fixstr, uint 8..64, str 8. */
static bool is_scalar(unsigned char type) {
    return type < 0x80 || (type >= 0xa0 && type < 0xc0) || (type >= 0xcc && type <= 0xcf) || type == 0xd9;
}

static bool take(struct str bytes, size_t *at, msgpack_unpacked *element) {
    if (*at >= bytes.len || !is_scalar((unsigned char)bytes.data[*at])) return false;
    msgpack_unpack_return got = msgpack_unpack_next(element, bytes.data, bytes.len, at);
    return got == MSGPACK_UNPACK_SUCCESS || got == MSGPACK_UNPACK_EXTRA_BYTES;
}

static bool take_number(struct str bytes, size_t *at, msgpack_unpacked *element, uint64_t *ret) {
    if (!take(bytes, at, element) || element->data.type != MSGPACK_OBJECT_POSITIVE_INTEGER) return false;
    *ret = element->data.via.u64;
    return *ret != 0 && *ret <= ID_MAX;
}

/* Goes on into headers and logs: printable ASCII only. */
static bool take_trace(struct str bytes, size_t *at, msgpack_unpacked *element,
                       char ret[static JOB_TRACEPARENT_MAX + 1]) {
    if (!take(bytes, at, element) || element->data.type != MSGPACK_OBJECT_STR) return false;
    const msgpack_object_str *s = &element->data.via.str;
    if (s->size > JOB_TRACEPARENT_MAX) return false;
    for (uint32_t i = 0; i < s->size; i++) {
        if (s->ptr[i] <= ' ' || s->ptr[i] > '~') return false;
    }
    if (s->size) memcpy(ret, s->ptr, s->size);
    ret[s->size] = '\0';
    return true;
}

enum err job_decode(struct str bytes, struct job *ret) {
    if (bytes.len == 0 || bytes.len > JOB_BYTES_MAX || (unsigned char)bytes.data[0] != JOB_FIXARRAY) return ERR_CORRUPT;
    struct job job = {0};
    uint64_t version;
    size_t at = 1;
    msgpack_unpacked element;
    msgpack_unpacked_init(&element);
    bool good = take_number(bytes, &at, &element, &version) && version == JOB_FORMAT &&
                take_number(bytes, &at, &element, &job.post_id) && take_number(bytes, &at, &element, &job.author_id) &&
                take_trace(bytes, &at, &element, job.traceparent) && at == bytes.len;
    msgpack_unpacked_destroy(&element);
    if (!good) return ERR_CORRUPT;
    *ret = job;
    return ERR_OK;
}
