/* Queued jobs: the bytes, and anything else that may stand in a queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/domain/job.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static void round_trip(void **state) {
    (void)state;
    struct job jobs[] = {{1, 2, ""}, {ID_MAX, ID_MAX, TRACE}, {UINT64_C(1) << 40, 300, "x"}};
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(buf_fini) struct buf b = BUF_INIT;
        struct job back;
        job_encode(&jobs[i], &b);
        assert_int_equal(job_decode(buf_str(&b), &back), ERR_OK);
        assert_int_equal(back.post_id, jobs[i].post_id);
        assert_int_equal(back.author_id, jobs[i].author_id);
        assert_string_equal(back.traceparent, jobs[i].traceparent);
    }
}

static void the_bytes_are_fixed(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    job_encode(&(struct job){5, 300, "ab"}, &b);
    assert_int_equal(b.len, 9);
    assert_memory_equal(b.data,
                        "\x94\x01\x05\xcd\x01\x2c\xa2"
                        "ab",
                        9);
}

static void refused(struct str bytes) {
    struct job job = {.post_id = 42};
    assert_int_equal(job_decode(bytes, &job), ERR_CORRUPT);
    assert_int_equal(job.post_id, 42);
}

static void what_is_not_a_job_is_refused(void **state) {
    (void)state;
    refused(str_of(NULL, 0));
    refused(STR("\x94\x02\x05\x06\xa0"));                   /* another version */
    refused(STR("\x93\x01\x05\x06"));                       /* three elements */
    refused(STR("\x95\x01\x05\x06\xa0\xa0"));               /* five */
    refused(STR("\x94\x01\x05\x06\xa0\xa0"));               /* something behind */
    refused(str_of("\x94\x01\x00\x06\xa0", 5));             /* id 0 */
    refused(STR("\x94\x01\x05\xcf\x80\0\0\0\0\0\0\0\xa0")); /* sign bit */
    refused(STR("\x94\x01\x05\xff\xa0"));                   /* negative */
    refused(STR("\x94\x01\x05\xcb\x40\0\0\0\0\0\0\0\xa0")); /* a float */
    refused(STR("\x94\x01\xa1\x35\x06\xa0"));               /* a string for an id */
    refused(STR("\x94\x01\x05\x06\x07"));                   /* a number for the trace */
    refused(STR("\x94\x01\x05\x06\xa2\x20\x41"));           /* blank in the trace */
    refused(STR("\x94\x01\x05\x06\xa1\n"));
    refused(STR("\x94\x01\x05\x06\xa1\x7f"));
    refused(STR("\x94\x01\x05\x06\xa1\xc3"));
    refused(STR("\x94\x01\x05\x06\xdd\xff\xff\xff\xff")); /* an array of four billion */
    refused(STR("\x94\xdf\xff\xff\xff\xff"));             /* a map of four billion */
    refused(STR("\xdd\xff\xff\xff\xff\x01"));
    refused(STR("\x94\x01\x05\x06\xd9\xff")); /* a string that is not there */
    char nested[100];
    memset(nested, '\x91', sizeof(nested));
    nested[0] = '\x94';
    refused(str_of(nested, sizeof(nested)));
}

static void a_long_trace_or_a_cut_job_is_refused(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    job_encode(&(struct job){UINT64_C(1) << 40, UINT64_C(1) << 41, TRACE}, &b);
    for (size_t len = 0; len < b.len; len++) refused(str_of(b.data, len));
    CLEANUP(buf_fini) struct buf longer = BUF_INIT;
    buf_add(&longer, "\x94\x01\x05\x06\xd9\x38", 6);
    for (int i = 0; i < 56; i++) buf_add_char(&longer, 'a');
    refused(buf_str(&longer));
    longer.data[5] = 55;
    struct job job;
    assert_int_equal(job_decode(str_of(longer.data, longer.len - 1), &job), ERR_OK);
    assert_int_equal(strlen(job.traceparent), 55);
}

static void mutated_jobs_decode_or_are_refused(void **state) {
    (void)state;
    struct rng rng = {8};
    for (int i = 0; i < 100000; i++) {
        CLEANUP(buf_fini) struct buf b = BUF_INIT;
        job_encode(&(struct job){rng_next(&rng) >> 1, 7, TRACE}, &b);
        for (uint64_t n = rng_below(&rng, 4); n; n--) b.data[rng_below(&rng, b.len)] = (char)rng_next(&rng);
        struct job job;
        if (job_decode(str_of(b.data, rng_below(&rng, b.len + 1)), &job) != ERR_OK) continue;
        assert_true(job.post_id && job.post_id <= ID_MAX && job.author_id && job.author_id <= ID_MAX);
        assert_true(strlen(job.traceparent) <= JOB_TRACEPARENT_MAX);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(the_bytes_are_fixed),
        cmocka_unit_test(what_is_not_a_job_is_refused),
        cmocka_unit_test(a_long_trace_or_a_cut_job_is_refused),
        cmocka_unit_test(mutated_jobs_decode_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
