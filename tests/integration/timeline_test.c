/* Timelines against a real Redis (FANFARE_TEST_REDIS_A): every step, and what a reader may conclude after it. */
#include "tests/integration/store_env.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/store/timeline.h"
#include "common/store/timeline_scripts.h"

#define CAP      20
#define SLACK    5
#define TTL      1000000
#define LATENESS 1000
/* Ids differ in both halves around here: adding carries into the upper one. */
#define T0 UINT64_C(0x7ffffff0000000)

static struct {
    struct loop *loop;
    struct redis_set *redis;
    struct redis *raw;
    struct timelines *timelines;
    struct arena arena;
    struct node node;
    uint64_t user;
} f;

/* --- waiting for one answer --- */

struct answer {
    bool there;
    enum err err;
    bool applied;
    int64_t number;
    uint64_t *list; /* ids in list order */
    size_t count;
    struct timeline_part part;
};

static void on_step(void *ctx, enum err err, bool applied) {
    struct answer *a = ctx;
    *a = (struct answer){.there = true, .err = err, .applied = applied};
}

static void on_part(void *ctx, enum err err, const struct timeline_part *part) {
    struct answer *a = ctx;
    *a = (struct answer){.there = true, .err = err};
    if (part) a->part = *part;
}

static void on_reply(void *ctx, enum err err, const struct redis_reply *r) {
    struct answer *a = ctx;
    *a = (struct answer){.there = true, .err = err};
    if (err == ERR_OK && redis_type(r) == REDIS_INT) a->number = redis_int(r);
    if (err != ERR_OK || redis_type(r) != REDIS_LIST) return;
    a->list = ARENA_ARRAY(&f.arena, uint64_t, redis_len(r) + 1);
    for (size_t i = 0; i < redis_len(r); i++) {
        struct entry e;
        struct str bytes = redis_str(redis_at(r, i));
        if (entry_decode(bytes.data, bytes.len, &e)) a->list[a->count++] = e.post_id;
    }
}

static struct location at(uint32_t generation) {
    return (struct location){&f.node, generation, true};
}

#define STEP(call)                                                                                                     \
    ({                                                                                                                 \
        struct answer a_ = {0};                                                                                        \
        struct location at_ = at(3);                                                                                   \
        assert_int_equal(call, ERR_OK);                                                                                \
        RUN_UNTIL(f.loop, a_.there);                                                                                   \
        assert_int_equal(a_.err, ERR_OK);                                                                              \
        a_.applied;                                                                                                    \
    })
#define BEGIN(nonce)   STEP(timeline_begin(f.timelines, &at_, f.user, nonce, on_step, &a_))
#define ABANDON(nonce) STEP(timeline_abandon(f.timelines, &at_, f.user, nonce, on_step, &a_))
#define FILL(nonce, entries, count, mark)                                                                              \
    STEP(timeline_fill(f.timelines, &at_, f.user, nonce, entries, count, mark, on_step, &a_))
#define LATE(entries, count) STEP(timeline_insert_late(f.timelines, &at_, f.user, entries, count, on_step, &a_))
#define TRIM()               STEP(timeline_trim(f.timelines, &at_, f.user, on_step, &a_))
#define DELETE()             STEP(timeline_delete(f.timelines, &at_, f.user, on_step, &a_))

static struct timeline_part read_part(unsigned want, bool refresh) {
    struct answer a = {0};
    struct location where = at(3);
    assert_int_equal(timeline_read(f.timelines, &where, f.user, want, refresh, &f.arena, on_part, &a), ERR_OK);
    RUN_UNTIL(f.loop, a.there);
    assert_int_equal(a.err, ERR_OK);
    return a.part;
}

static struct answer ask(size_t argc, const struct str *argv) {
    struct answer a = {0};
    assert_int_equal(redis_command(f.raw, on_reply, &a, argc, argv), ERR_OK);
    RUN_UNTIL(f.loop, a.there);
    assert_int_equal(a.err, ERR_OK);
    return a;
}

static int64_t command(size_t argc, const struct str *argv) {
    return ask(argc, argv).number;
}

static struct str key(void) {
    char *text = arena_alloc(&f.arena, CACHE_KEY_MAX);
    return str_of(text, cache_key(TIER_TIMELINE, 3, f.user, text));
}

static uint64_t id(unsigned n) {
    return T0 + (uint64_t)n * 0x10000001;
}
static struct entry entry(unsigned n) {
    return (struct entry){id(n), 77};
}

/* As fanoutd does: returns the length, 0 when not resident. */
static int64_t push(unsigned n) {
    unsigned char bytes[ENTRY_BYTES];
    entry_encode(entry(n), bytes);
    return command(3, (struct str[]){STR("LPUSHX"), key(), str_of((char *)bytes, sizeof(bytes))});
}

/* n..1, newest first */
static struct entry *entries_down(unsigned from, unsigned to) {
    struct entry *e = ARENA_ARRAY(&f.arena, struct entry, from - to + 1);
    for (unsigned i = 0; i <= from - to; i++) e[i] = entry(from - i);
    return e;
}

static void assert_view(struct timeline_part p, unsigned from, unsigned to, uint64_t complete_from) {
    assert_int_equal(p.presence, TIMELINE_PRESENT);
    assert_int_equal(p.view.count, from - to + 1);
    for (unsigned i = 0; i <= from - to; i++) assert_int_equal(p.view.entries[i].post_id, id(from - i));
    assert_int_equal(p.view.complete_from, complete_from);
}

static int setup(void **state) {
    (void)state;
    const char *address = env_address("FANFARE_TEST_REDIS_A");
    f.loop = loop_new();
    f.redis = redis_set_new(f.loop, 2000, 1000);
    f.raw = redis_set_get(f.redis, address);
    f.timelines = timelines_new(&(struct timelines_options){
        .redis = f.redis, .cap = CAP, .slack = SLACK, .ttl_ms = TTL, .building_ttl_ms = 5000, .lateness_ms = LATENESS});
    f.node = (struct node){.id = 1, .kind = NODE_REDIS};
    snprintf(f.node.address, sizeof(f.node.address), "%s", address);
    arena_init(&f.arena, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    timelines_free(&f.timelines);
    redis_set_free(&f.redis);
    loop_free(&f.loop);
    arena_fini(&f.arena);
    return 0;
}

static int fresh(void **state) {
    (void)state;
    f.user = random_u64() >> 1;
    return 0;
}
static int cleanup(void **state) {
    (void)state;
    DELETE();
    return 0;
}

static void cold_takes_no_push_and_no_step(void **state) {
    (void)state;
    assert_int_equal(read_part(10, false).presence, TIMELINE_ABSENT);
    assert_int_equal(read_part(0, false).presence, TIMELINE_ABSENT);
    assert_int_equal(push(1), 0);
    struct entry e = entry(1);
    assert_false(LATE(&e, 1));
    assert_false(TRIM());
    assert_false(FILL(9, &e, 1, 0));
    assert_false(ABANDON(9));
    assert_int_equal(read_part(10, false).presence, TIMELINE_ABSENT);
}

static void begin_fill_read(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    assert_false(BEGIN(10)); /* one builder */
    assert_int_equal(read_part(10, false).presence, TIMELINE_IS_BUILDING);
    assert_int_equal(read_part(0, false).presence, TIMELINE_IS_BUILDING);
    assert_false(FILL(10, entries_down(9, 1), 9, 0)); /* not the builder */
    assert_true(FILL(9, entries_down(9, 1), 9, id(1)));
    assert_false(FILL(9, entries_down(9, 1), 9, id(1))); /* done is done */
    assert_view(read_part(0, false), 9, 1, id(1));
    assert_view(read_part(20, false), 9, 1, id(1)); /* the prefix met the header: the whole list */
    assert_true(read_part(20, false).view.whole);
    struct timeline_part p = read_part(4, false);
    assert_view(p, 9, 6, id_plus_ms(id(6), LATENESS) + 1);
    assert_false(p.view.whole);
    assert_true(DELETE());
    assert_int_equal(read_part(0, false).presence, TIMELINE_ABSENT);
}

static void an_empty_feed_is_complete(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    assert_true(FILL(9, NULL, 0, 0));
    struct timeline_part p = read_part(10, false);
    assert_int_equal(p.presence, TIMELINE_PRESENT);
    assert_int_equal(p.view.count, 0);
    assert_int_equal(p.view.complete_from, 0);
    assert_int_equal(push(1), 2);
    assert_view(read_part(10, false), 1, 1, 0);
}

static void pushes_during_a_build_are_kept_in_order(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    push(10);
    push(4); /* a late one at the head of a building */
    push(12);
    push(12); /* a retry */
    assert_true(FILL(9, entries_down(11, 1), 11, id(1)));
    assert_int_equal(command(2, (struct str[]){STR("LLEN"), key()}), 13); /* 12 entries and the header */
    assert_view(read_part(0, false), 12, 1, id(1));
    struct timeline_part p = read_part(3, false);
    assert_view(p, 12, 10, id_plus_ms(id(10), LATENESS) + 1); /* list order is id order */
}

static void a_merged_fill_beyond_the_cap_raises_the_mark(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    push(CAP + 1);
    push(CAP + 2);
    assert_true(FILL(9, entries_down(CAP, 1), CAP, id(1)));
    assert_view(read_part(0, false), CAP + 2, 3, id(2) + 1);
}

static void a_raised_mark_carries_into_the_upper_half(void **state) {
    (void)state;
    struct entry e[CAP + 1];
    for (unsigned i = 0; i < CAP; i++) e[i] = (struct entry){ID_MAX - 1 - i, 5};
    e[CAP] = (struct entry){0x00000005ffffffff, 5};
    assert_true(BEGIN(9));
    push(CAP); /* dropped or not, it makes the fill merge */
    assert_true(FILL(9, e, CAP + 1, 0));
    assert_int_equal(read_part(0, false).view.complete_from, id(CAP) + 1);
    DELETE();
    unsigned char bytes[ENTRY_BYTES];
    assert_true(BEGIN(9));
    entry_encode(e[0], bytes);
    command(3, (struct str[]){STR("LPUSHX"), key(), str_of((char *)bytes, sizeof(bytes))});
    assert_true(FILL(9, e, CAP + 1, 0));
    assert_int_equal(read_part(0, false).view.complete_from, 0x0000000600000000);
}

static void abandoned_by_its_builder_only(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    assert_false(ABANDON(10));
    assert_true(ABANDON(9));
    assert_int_equal(read_part(0, false).presence, TIMELINE_ABSENT);
    assert_true(BEGIN(11));
    assert_true(FILL(11, entries_down(2, 1), 2, 0));
    assert_false(ABANDON(11)); /* complete now */
}

static void trim_at_the_slack_and_not_before(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    assert_true(FILL(9, entries_down(CAP, 1), CAP, 0));
    for (unsigned n = CAP + 1; n <= CAP + SLACK; n++) push(n);
    assert_false(TRIM()); /* exactly cap + slack entries */
    assert_view(read_part(0, false), CAP + SLACK, 1, 0);
    assert_int_equal(push(CAP + SLACK + 1), CAP + SLACK + 2);
    assert_true(TRIM());
    assert_view(read_part(0, false), CAP + SLACK + 1, SLACK + 2, id(SLACK + 1) + 1);
    assert_false(TRIM());
}

static void trim_finds_the_greatest_id_it_drops(void **state) {
    (void)state;
    /*
     * Each pair differs in one half only, so a comparison that mixes the halves up or rounds the whole id is found out.
     */
    static const uint64_t GREATEST[][3] = {
        {0x0000000500000001, 0x00000005ffffffff, 0x0000000600000000 - 0x100000002},
        {0x00000005ffffffff, 0x0000000500000000, 0x00000004ffffffff},
        {0x7000000000000001, 0x7000000000000002, 0x7000000000000000},
        {0x0020000000000001, 0x0020000000000003, 0x0020000000000002},
        {0x80000000, 0x7fffffff, 0x80000001},
    };
    for (size_t c = 0; c < ARRAY_LEN(GREATEST); c++) {
        f.user = random_u64() >> 1;
        uint64_t greatest = 0;
        struct entry e[CAP + SLACK + 1];
        for (unsigned i = 0; i < CAP + SLACK + 1; i++) {
            uint64_t v = i < CAP ? ID_MAX - i : GREATEST[c][i % 3];
            e[i] = (struct entry){v, 5};
            if (i >= CAP && v > greatest) greatest = v;
        }
        assert_true(BEGIN(9));
        assert_true(FILL(9, e, CAP + SLACK + 1, 0)); /* a fill of an untouched building takes the order it gets */
        assert_true(TRIM());
        struct timeline_part p = read_part(0, false);
        assert_int_equal(p.view.count, CAP);
        assert_int_equal(p.view.complete_from, greatest + 1);
        DELETE();
    }
}

static void trim_never_lowers_the_mark(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    assert_true(FILL(9, entries_down(CAP + SLACK + 1, 1), CAP + SLACK + 1, id(100)));
    assert_true(TRIM());
    assert_int_equal(read_part(0, false).view.complete_from, id(100));
}

static void a_building_that_outgrows_the_cap_is_given_up(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    for (unsigned n = 1; n <= CAP + SLACK + 1; n++) push(n);
    assert_true(TRIM());
    assert_int_equal(read_part(0, false).presence, TIMELINE_ABSENT);
    assert_false(
        FILL(9, entries_down(3, 1), 3, 0)); /* what was dropped may be missing in the query: nothing is stored */
}

static void a_late_entry_goes_where_it_belongs(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    struct entry *odd = ARENA_ARRAY(&f.arena, struct entry, 10);
    for (unsigned i = 0; i < 10; i++) odd[i] = entry(21 - 2 * i); /* 21, 19, .. 3 */
    assert_true(FILL(9, odd, 10, id(2)));
    struct entry late[] = {entry(22), entry(12), entry(4), entry(2), entry(1), entry(12), entry(19)};
    assert_true(LATE(late, ARRAY_LEN(late)));
    static const unsigned WANT[] = {22, 21, 19, 17, 15, 13, 12, 11, 9, 7, 5, 4, 3, 2}; /* 1 is below the mark */
    assert_int_equal(command(2, (struct str[]){STR("LLEN"), key()}), ARRAY_LEN(WANT) + 1);
    for (unsigned want = 1; want <= ARRAY_LEN(WANT); want++) {
        struct timeline_part p = read_part(want, false);
        assert_int_equal(p.view.count, want);
        for (unsigned i = 0; i < want; i++) assert_int_equal(p.view.entries[i].post_id, id(WANT[i]));
    }
    assert_int_equal(read_part(0, false).view.complete_from, id(2));
}

static void a_late_entry_into_a_building_is_sorted_by_the_fill(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    push(9);
    struct entry late = entry(3);
    assert_true(LATE(&late, 1));
    assert_true(FILL(9, entries_down(8, 4), 5, id(3)));
    assert_view(read_part(0, false), 9, 3, id(3));
    assert_view(read_part(2, false), 9, 8, id_plus_ms(id(8), LATENESS) + 1);
}

static void late_entries_are_trimmed_too(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    assert_true(FILL(9, entries_down(CAP + SLACK + 1, 2), CAP + SLACK, 0));
    struct entry late = entry(1);
    assert_true(LATE(&late, 1));
    assert_view(read_part(0, false), CAP + SLACK + 1, SLACK + 2, id(SLACK + 1) + 1);
}

/*
 * The rule of domain/view.h under a random mix of head pushes (young), late inserts (any age), with trims: an entry
 * behind another is at most W above it, and nothing that was delivered at or above the mark is missing.
 */
static void the_lateness_rule_holds_under_any_mix(void **state) {
    (void)state;
    struct rng rng = {7};
    assert_true(BEGIN(9));
    assert_true(FILL(9, NULL, 0, 0));
    bool delivered[2000] = {false};
    unsigned now = 100, window = 40; /* in steps of id() */
    for (int step = 0; step < 600; step++) {
        now += (unsigned)rng_below(&rng, 3);
        unsigned n = 1 + (unsigned)rng_below(&rng, now);
        if (rng_below(&rng, 2)) n = now - (unsigned)rng_below(&rng, window);
        delivered[n] = true;
        if (now - n <= window) {
            if (push(n) > CAP + SLACK + 1) TRIM();
        } else {
            struct entry late = entry(n);
            LATE(&late, 1);
        }
        if (step % 10) continue;
        struct timeline_part p = read_part(0, false);
        uint64_t mark = p.view.complete_from;
        unsigned have = 0, owed = 0;
        for (unsigned i = 1; i < ARRAY_LEN(delivered); i++) owed += delivered[i] && id(i) >= mark;
        for (size_t i = 0; i < p.view.count; i++) have += p.view.entries[i].post_id >= mark;
        assert_int_equal(have, owed);
        struct answer a = ask(4, (struct str[]){STR("LRANGE"), key(), STR("0"), STR("-1")});
        for (size_t i = 1; i < a.count; i++) {
            for (size_t j = 0; j < i; j++) assert_true(a.list[i] <= a.list[j] + window * UINT64_C(0x10000001));
        }
    }
}

static void residence_is_extended_by_reads_of_complete_timelines_only(void **state) {
    (void)state;
    const struct str pttl[] = {STR("PTTL"), key()};
    assert_true(BEGIN(9));
    read_part(10, true);
    read_part(10, false);
    /* Nor when it began between the read and the refresh. */
    command(5, (struct str[]){STR("EVAL"), str_c(TIMELINE_REFRESH_LUA), STR("1"), key(), STR("1000000")});
    assert_in_range(command(2, pttl), 1, 5000); /* a build that died must not stay */
    assert_true(FILL(9, entries_down(3, 1), 3, 0));
    assert_in_range(command(2, pttl), TTL - 10000, TTL);
    command(3, (struct str[]){STR("PEXPIRE"), key(), STR("20000")});
    read_part(2, false);
    assert_in_range(command(2, pttl), 1, 20000);
    read_part(2, true);
    assert_in_range(command(2, pttl), TTL - 10000, TTL);
    push(4);
    struct entry late = entry(2);
    LATE(&late, 1);
    for (unsigned n = 5; n < 40; n++) push(n);
    assert_true(TRIM());
    assert_in_range(command(2, pttl), TTL - 10000, TTL); /* no step takes it away */
}

static void foreign_bytes_are_a_miss(void **state) {
    (void)state;
    command(3, (struct str[]){STR("RPUSH"), key(), STR("of another version")});
    assert_int_equal(read_part(5, false).presence, TIMELINE_ABSENT);
    struct entry e = entry(1);
    assert_false(LATE(&e, 1));
    assert_true(BEGIN(9)); /* replaced */
    assert_true(FILL(9, entries_down(2, 1), 2, 0));
    command(3, (struct str[]){STR("LPUSH"), key(), STR("junk")});
    assert_int_equal(read_part(5, false).presence, TIMELINE_ABSENT);
    assert_int_equal(command(2, (struct str[]){STR("EXISTS"), key()}), 0);
    command(3, (struct str[]){STR("SET"), key(), STR("a string")});
    assert_true(BEGIN(9));
}

static void another_generation_is_another_timeline(void **state) {
    (void)state;
    assert_true(BEGIN(9));
    assert_true(FILL(9, entries_down(2, 1), 2, 0));
    struct answer a = {0};
    struct location later = at(4);
    assert_int_equal(timeline_read(f.timelines, &later, f.user, 5, false, &f.arena, on_part, &a), ERR_OK);
    RUN_UNTIL(f.loop, a.there);
    assert_int_equal(a.part.presence, TIMELINE_ABSENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, cleanup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(cold_takes_no_push_and_no_step),
        TEST(begin_fill_read),
        TEST(an_empty_feed_is_complete),
        TEST(pushes_during_a_build_are_kept_in_order),
        TEST(a_merged_fill_beyond_the_cap_raises_the_mark),
        TEST(a_raised_mark_carries_into_the_upper_half),
        TEST(abandoned_by_its_builder_only),
        TEST(trim_at_the_slack_and_not_before),
        TEST(trim_finds_the_greatest_id_it_drops),
        TEST(trim_never_lowers_the_mark),
        TEST(a_building_that_outgrows_the_cap_is_given_up),
        TEST(a_late_entry_goes_where_it_belongs),
        TEST(a_late_entry_into_a_building_is_sorted_by_the_fill),
        TEST(late_entries_are_trimmed_too),
        TEST(the_lateness_rule_holds_under_any_mix),
        TEST(residence_is_extended_by_reads_of_complete_timelines_only),
        TEST(foreign_bytes_are_a_miss),
        TEST(another_generation_is_another_timeline),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
