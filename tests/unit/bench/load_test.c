/* Parts of the bench tool that decide figures: CPU accounting, draws, schedules, the synthetic graph, arguments, the
 * report. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/args.h"
#include "bench/cpu.h"
#include "bench/drain.h"
#include "bench/lines.h"
#include "bench/report.h"
#include "bench/stream.h"
#include "bench/synthetic.h"
#include "bench/texts.h"
#include "bench/zipf.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/sys/json.h"

static void stat_line_is_read_past_any_name(void **state) {
    (void)state;
    struct cpu_stat s;
    assert_true(cpu_parse_stat("42 (a) b (c)) S 7 1 1 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 55 1 2", &s));
    assert_int_equal(s.pid, 42);
    assert_int_equal(s.parent, 7);
    assert_int_equal(s.own, 120);
    assert_int_equal(s.reaped, 7);
    assert_false(cpu_parse_stat("42 (a", &s));
    assert_false(cpu_parse_stat("42 (a) S 7 1", &s));
}

static void own_cpu_is_accounted(void **state) {
    (void)state;
    struct cpu_pids pids = {.count = 0};
    struct buf why = BUF_INIT;
    char argument[32];
    snprintf(argument, sizeof(argument), "redis=%d", getpid());
    assert_true(cpu_pid_argument(&pids, argument, &why));
    struct cpu_usage before, after;
    assert_true(cpu_sample(&pids, &before));
    do {
        for (volatile unsigned i = 0; i < 10000000; i++) continue;
        assert_true(cpu_sample(&pids, &after));
    } while (after.self - before.self < 0.1);
    struct cpu_usage used = cpu_since(&before, &after);
    assert_true(used.seconds[CPU_REDIS] > used.self - 0.05 && used.seconds[CPU_REDIS] < used.self + 0.05);
    assert_true(used.seconds[CPU_FEEDD] == 0);
    assert_true(cpu_total(&used, CPU_SERVERS) == used.seconds[CPU_REDIS]);
    assert_false(cpu_pid_argument(&pids, "feed=1", &why));
    assert_false(cpu_pid_argument(&pids, "feedd=0", &why));
    assert_false(cpu_pid_argument(&pids, "feedd", &why));
    buf_fini(&why);
}

static void a_process_that_is_gone_is_told(void **state) {
    (void)state;
    struct cpu_pids pids = {.list = {{CPU_FEEDD, INT32_MAX}}, .count = 1};
    struct cpu_usage u;
    assert_false(cpu_sample(&pids, &u));
}

static void zipf_follows_its_law(void **state) {
    (void)state;
    enum { N = 1000, DRAWS = 400000 };
    static unsigned hits[N];
    struct zipf z;
    struct rng r = {.state = 5};
    zipf_init(&z, N, 1.0);
    for (int i = 0; i < DRAWS; i++) hits[zipf_draw(&z, &r)]++;
    double harmonic = 0;
    for (int k = 1; k <= N; k++) harmonic += 1.0 / k;
    for (int k = 0; k < 10; k++) {
        double want = DRAWS / harmonic / (k + 1);
        assert_true(hits[k] > want * 0.95 && hits[k] < want * 1.05);
    }
    assert_true(hits[N - 1] > 0);
    zipf_fini(&z);
}

static void arrivals_keep_their_rate_and_never_fall(void **state) {
    (void)state;
    struct arrivals a = {.rate = 1000, .rng = {.state = 9}};
    uint64_t last = 0, at = 0;
    for (int i = 0; i < 100000; i++) {
        at = arrivals_next(&a);
        assert_true(at >= last);
        last = at;
    }
    assert_true(at > UINT64_C(98000000000) && at < UINT64_C(102000000000));
}

static void synthetic_graph_comes_out_even(void **state) {
    (void)state;
    const struct synthetic_size size = {2000, 100, 400, 5, 40, 3};
    struct synthetic g;
    synthetic_init(&g, &size);
    qsort(g.follows, g.follow_count, sizeof(*g.follows), follow_by_key);
    struct map following = MAP_INIT, authors = MAP_INIT;
    for (uint64_t i = 0; i < size.authors; i++) map_put(&authors, g.authors[i], &g);
    for (size_t i = 0; i < g.follow_count; i++) {
        if (i) assert_true(follow_by_key(&g.follows[i - 1], &g.follows[i]) < 0); /* no edge twice */
        if (!map_get(&authors, g.follows[i].followee)) continue;
        uintptr_t n = (uintptr_t)map_get(&following, g.follows[i].follower);
        map_put(&following, g.follows[i].follower, (void *)(n + 1));
    }
    for (uint64_t i = 0; i < size.readers; i++)
        assert_int_equal((uintptr_t)map_get(&following, g.readers[i]), size.authors * size.followers / size.readers);
    map_fini(&following);
    map_fini(&authors);
    synthetic_fini(&g);
}

static void synthetic_posts_lie_in_their_span_and_shard(void **state) {
    (void)state;
    const struct synthetic_size size = {400, 1, 400, 0, 40, 3};
    struct synthetic g;
    synthetic_init(&g, &size);
    uint64_t end = ID_EPOCH_MS + UINT64_C(90000000000), span = 30 * UINT64_C(86400000), last = 0;
    for (uint64_t k = 0; k < size.posts; k++) {
        uint64_t id = synthetic_post_id(&g, g.authors[0], k, end, span);
        assert_true(id > last && id_unix_ms(id) >= end - span && id_unix_ms(id) < end);
        assert_int_equal(id_shard(id), id_shard(g.authors[0]));
        assert_int_equal(id, synthetic_post_id(&g, g.authors[0], k, end, span));
        last = id;
    }
    synthetic_fini(&g);
}

static void arguments_are_refused_with_a_reason(void **state) {
    (void)state;
    uint64_t n = 7;
    double rate = 0;
    bool flag = false;
    const char *word = NULL;
    const struct arg table[] = {{"--count", ARG_NUMBER, &n, 1, 10, NULL, ""},
                                {"--rate", ARG_REAL, &rate, 0, 5, NULL, ""},
                                {"--flag", ARG_FLAG, &flag, 0, 0, NULL, ""},
                                {"FILE", ARG_WORD, &word, 0, 0, NULL, ""}};
    static const struct {
        const char *argv[6];
        const char *why; /* NULL: taken */
    } cases[] = {{{"x", "--count", "3", "f", "--flag", "--rate"}, "--rate needs a value"},
                 {{"x", "--count", "11"}, "--count: \"11\" is no whole number from 1 to 10"},
                 {{"x", "--count", "-1"}, "--count: \"-1\" is no whole number from 1 to 10"},
                 {{"x", "--rate", "nan"}, "--rate: \"nan\" is no number from 0 to 5"},
                 {{"x", "--nope"}, "there is no option \"--nope\""},
                 {{"x", "one", "two"}, "\"two\" is one argument too many"},
                 {{"x", "--rate", "2.5", "--count", "10"}, NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int argc = 0;
        while (argc < 6 && cases[i].argv[argc]) argc++;
        struct buf why = BUF_INIT;
        word = NULL;
        enum err e = args_parse(table, ARRAY_LEN(table), argc, (char **)cases[i].argv, &why);
        assert_int_equal(e, cases[i].why ? ERR_INVALID : ERR_OK);
        if (cases[i].why) assert_string_equal(why.data, cases[i].why);
        buf_fini(&why);
    }
    assert_int_equal(n, 10);
    assert_true(rate == 2.5);
}

static void report_is_json(void **state) {
    (void)state;
    struct report r;
    report_init(&r);
    report_figure(&r, "x", 0.5, "a \"quoted\" %d", 3);
    report_open(&r, "inner");
    report_close(&r);
    report_real(&r, "none", 0.0 / 0.0);
    report_id(&r, "id", 12);
    buf_add_char(&r.text, '}');
    struct json *j = NULL;
    char why[160];
    assert_int_equal(json_parse(buf_str(&r.text), &j, why), ERR_OK);
    assert_true(str_eq_c(json_string(json_member(j, "x_workload")), "a \"quoted\" 3"));
    assert_true(json_real(json_member(j, "x")) == 0.5);
    assert_int_equal(json_type(json_member(j, "none")), JSON_NULL);
    assert_true(str_eq_c(json_string(json_member(j, "id")), "12"));
    json_free(&j);
    report_fini(&r);
}

static void metrics_are_summed_by_family_and_label(void **state) {
    (void)state;
    struct str page = STR("# HELP a b\na{result=\"x\",t=\"1\"} 3\na{result=\"y\"} 4\nab{result=\"x\"} 100\na 0.5");
    assert_true(samples_sum(page, "a", NULL) == 7.5);
    assert_true(samples_sum(page, "a", "result=\"x\"") == 3);
    assert_true(samples_sum(page, "b", NULL) == 0);
    assert_true(samples_sum(STR(""), "a", NULL) == 0);
}

static void activity_rows(void **state) {
    (void)state;
    struct activity a;
    assert_true(activity_parse(STR("1341100972\t223789\t213163\tMT"), &a));
    assert_int_equal(a.seconds, 1341100972);
    assert_int_equal(a.actor, 223789);
    assert_int_equal(a.target, 213163);
    assert_true(activity_parse(STR("1 2 3"), &a));
    assert_false(activity_parse(STR("1 2"), &a));
    assert_false(activity_parse(STR("x 2 3 RT"), &a));
    assert_false(activity_parse(STR(""), &a));
}

static void made_up_texts_repeat_and_fit(void **state) {
    (void)state;
    char *message = NULL;
    struct texts t;
    assert_int_equal(texts_init(&t, NULL, &message), ERR_OK);
    for (uint64_t n = 0; n < 200; n++) {
        struct buf one = BUF_INIT, two = BUF_INIT;
        texts_add(&t, n, &one);
        texts_add(&t, n, &two);
        assert_true(str_eq(buf_str(&one), buf_str(&two)));
        assert_true(one.len >= 20 && one.len < 160);
        buf_fini(&one);
        buf_fini(&two);
    }
    texts_fini(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_line_is_read_past_any_name),
        cmocka_unit_test(own_cpu_is_accounted),
        cmocka_unit_test(a_process_that_is_gone_is_told),
        cmocka_unit_test(zipf_follows_its_law),
        cmocka_unit_test(arrivals_keep_their_rate_and_never_fall),
        cmocka_unit_test(synthetic_graph_comes_out_even),
        cmocka_unit_test(synthetic_posts_lie_in_their_span_and_shard),
        cmocka_unit_test(arguments_are_refused_with_a_reason),
        cmocka_unit_test(report_is_json),
        cmocka_unit_test(metrics_are_summed_by_family_and_label),
        cmocka_unit_test(activity_rows),
        cmocka_unit_test(made_up_texts_repeat_and_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
