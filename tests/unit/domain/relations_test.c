/* Relations: the gate, and decoding of anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/relations.h"

static void encode(const uint64_t *f, size_t fn, const uint64_t *h, size_t hn, const uint64_t *m, size_t mn,
                   struct buf *to) {
    const uint64_t *ids[] = {f, h, m};
    const size_t counts[] = {fn, hn, mn};
    struct buf packed[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    for (size_t p = 0; p < 3; p++) {
        for (size_t i = 0; i < counts[p]; i++) buf_add_be64(&packed[p], ids[p][i]);
    }
    relations_encode(buf_str(&packed[0]), buf_str(&packed[1]), buf_str(&packed[2]), to);
    for (size_t p = 0; p < 3; p++) buf_fini(&packed[p]);
}

static void the_gate_admits_what_is_followed_and_not_hidden_or_muted(void **state) {
    (void)state;
    static const uint64_t followees[] = {10, 20, 30, 40, UINT64_C(0x7fffffffffffffff)}, hidden[] = {20, 50},
                          muted[] = {30};
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    encode(followees, 5, hidden, 2, muted, 1, &b);
    assert_int_equal(b.len, 32 + 8 * 8);
    struct relations r;
    assert_int_equal(relations_decode(7, buf_str(&b), &r), ERR_OK);
    assert_true(relations_admits(&r, 7)); /* oneself */
    assert_true(relations_admits(&r, 10));
    assert_true(relations_admits(&r, 40));
    assert_true(relations_admits(&r, UINT64_C(0x7fffffffffffffff)));
    assert_false(relations_admits(&r, 20)); /* blocked, either way */
    assert_false(relations_admits(&r, 30)); /* muted */
    assert_false(relations_admits(&r, 50)); /* not followed, hidden */
    assert_false(relations_admits(&r, 11)); /* not followed */
    assert_false(relations_admits(&r, 0));
    assert_true(relations_follows(&r, 20) && relations_hides(&r, 50) && relations_mutes(&r, 30));
    assert_false(relations_follows(&r, 50) || relations_hides(&r, 10) || relations_mutes(&r, 20));
}

static void every_size_is_searched_right(void **state) {
    (void)state;
    uint64_t ids[70];
    for (size_t i = 0; i < 70; i++) ids[i] = (i + 1) * 3;
    for (size_t count = 0; count <= 70; count++) {
        CLEANUP(buf_fini) struct buf b = BUF_INIT;
        struct relations r;
        encode(ids, count, NULL, 0, NULL, 0, &b);
        assert_int_equal(relations_decode(1, buf_str(&b), &r), ERR_OK);
        for (uint64_t id = 0; id < 220; id++) {
            assert_int_equal(relations_follows(&r, id), id > 0 && id % 3 == 0 && id / 3 <= count);
        }
    }
}

static void corrupt_bytes_are_refused(void **state) {
    (void)state;
    static const uint64_t ids[] = {1, 2, 3};
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    encode(ids, 3, ids, 2, ids, 1, &b);
    struct relations r = {.reader_id = 42};
    for (size_t len = 0; len < b.len; len++) {
        assert_int_equal(relations_decode(1, str_of(b.data, len), &r), ERR_CORRUPT);
    }
    for (size_t i = 0; i < 32; i++) { /* version, zeros and every byte of the counts */
        b.data[i] ^= (char)0x80;
        assert_int_equal(relations_decode(1, buf_str(&b), &r), ERR_CORRUPT);
        b.data[i] ^= (char)0x80;
    }
    /* Counts whose sum or whose size in bytes overflows to something that would fit. */
    static const uint64_t lies[][3] = {{UINT64_MAX, 7, 0},
                                       {UINT64_C(1) << 61, 6, 0},
                                       {6, UINT64_C(1) << 63, UINT64_C(1) << 63},
                                       {UINT64_MAX, UINT64_MAX, 8}};
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        for (size_t j = 0; j < 3; j++) be64_store(b.data + 8 + 8 * j, lies[i][j]);
        assert_int_equal(relations_decode(1, buf_str(&b), &r), ERR_CORRUPT);
    }
    assert_int_equal(r.reader_id, 42); /* outputs stay untouched */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gate_admits_what_is_followed_and_not_hidden_or_muted),
        cmocka_unit_test(every_size_is_searched_right),
        cmocka_unit_test(corrupt_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
