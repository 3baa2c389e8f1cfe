/* Timeline elements: codecs, and normalising against a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/domain/entry.h"
#include "common/domain/id.h"

static void entries_round_trip(void **state) {
    (void)state;
    unsigned char bytes[ENTRY_BYTES];
    struct entry e = {0x0102030405060708, ID_MAX}, back;
    entry_encode(e, bytes);
    assert_memory_equal(bytes, "\x01\x02\x03\x04\x05\x06\x07\x08\x7f\xff\xff\xff\xff\xff\xff\xff", 16);
    assert_true(entry_decode(bytes, 16, &back));
    assert_true(back.post_id == e.post_id && back.author_id == e.author_id);
    assert_false(entry_decode(bytes, 15, &back));
    assert_false(entry_decode(bytes, TIMELINE_HEADER_BYTES, &back));
    bytes[0] = 0x80; /* sign bit */
    assert_false(entry_decode(bytes, 16, &back));
    entry_encode((struct entry){0, 5}, bytes);
    assert_false(entry_decode(bytes, 16, &back));
    entry_encode((struct entry){5, 0}, bytes);
    assert_false(entry_decode(bytes, 16, &back));
}

static void headers_round_trip(void **state) {
    (void)state;
    unsigned char bytes[TIMELINE_HEADER_BYTES];
    struct timeline_header h = {TIMELINE_COMPLETE, UINT64_MAX, 77}, back = {0};
    timeline_header_encode(h, bytes);
    assert_memory_equal(bytes, "\x01\x02\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\x4d", 24);
    assert_true(timeline_header_decode(bytes, sizeof(bytes), &back));
    assert_true(back.state == h.state && back.nonce == h.nonce && back.mark == h.mark);
    assert_false(timeline_header_decode(bytes, 23, &back));
    assert_false(timeline_header_decode(bytes, ENTRY_BYTES, &back));
    for (size_t i = 0; i < 8; i++) { /* another format, state or a flag that this version does not know */
        unsigned char other[TIMELINE_HEADER_BYTES];
        memcpy(other, bytes, sizeof(other));
        other[i] ^= 0x40;
        assert_false(timeline_header_decode(other, sizeof(other), &back));
    }
}

/* The model: selection of the greatest id not yet taken. */
static size_t model(const struct entry *in, size_t count, struct entry *out) {
    size_t n = 0;
    uint64_t below = UINT64_MAX;
    for (;;) {
        const struct entry *best = NULL;
        for (size_t i = 0; i < count; i++) {
            if (in[i].post_id < below && (!best || in[i].post_id > best->post_id)) best = &in[i];
        }
        if (!best) return n;
        below = best->post_id;
        out[n++] = *best;
    }
}

static void normalising_sorts_and_drops_duplicates(void **state) {
    (void)state;
    struct rng rng = {21};
    for (int round = 0; round < 3000; round++) {
        struct entry e[64], expected[64];
        size_t count = rng_below(&rng, 65), disorder = rng_below(&rng, 4);
        for (size_t i = 0; i < count; i++) {
            uint64_t id = 1000 - i * 3;
            if (disorder == 1 && rng_below(&rng, 10) == 0) id += rng_below(&rng, 20); /* a few late or repeated ones */
            if (disorder == 2) id = 1 + rng_below(&rng, 50);                          /* any order, many duplicates */
            if (disorder == 3) id = 1 + i;                                            /* the worst order */
            e[i] = (struct entry){id, id + 5000};
        }
        size_t want = model(e, count, expected);
        assert_int_equal(entries_normalise(e, count), want);
        if (want) assert_memory_equal(e, expected, want * sizeof(e[0]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_round_trip),
        cmocka_unit_test(headers_round_trip),
        cmocka_unit_test(normalising_sorts_and_drops_duplicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
