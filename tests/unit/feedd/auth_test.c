/* Bearer tokens: the header's forms, and that the cache of verified tokens forgets at the expiry and never takes one
 * token for another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "feedd/auth.h"

static struct jwt_keys *keys;
static struct auth_cache *cache;
static uint64_t user;
static const char *why;

static int setup(void **state) {
    (void)state;
    char *message = NULL;
    if (jwt_keys_new("k1:hs256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "fanfare", &keys, &message) != ERR_OK)
        return 1;
    cache = auth_cache_new(keys);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    auth_cache_free(&cache);
    jwt_keys_free(&keys);
    return 0;
}

static enum problem check(const char *header, uint64_t now_s) {
    user = 0;
    return auth_check(cache, header ? str_c(header) : (struct str){0}, now_s, &user, &why);
}

static struct buf bearer(uint64_t user_id, uint64_t expires_s) {
    struct buf b = BUF_INIT;
    buf_add_c(&b, "Bearer ");
    assert_int_equal(jwt_sign(keys, user_id, 1000, expires_s, &b), ERR_OK);
    return b;
}

static void test_header(void **state) {
    (void)state;
    assert_int_equal(check(NULL, 1000), PROBLEM_NO_TOKEN);
    assert_int_equal(check("", 1000), PROBLEM_BAD_TOKEN);
    assert_int_equal(check("Bearer ", 1000), PROBLEM_BAD_TOKEN);
    assert_int_equal(check("Bearer    ", 1000), PROBLEM_BAD_TOKEN);
    assert_int_equal(check("Basic YTpi", 1000), PROBLEM_BAD_TOKEN);
    assert_int_equal(check("Bearer a.b.c", 1000), PROBLEM_BAD_TOKEN);
    char *long_header = mem_zalloc(AUTH_TOKEN_MAX + 20);
    memset(long_header, 'x', AUTH_TOKEN_MAX + 10);
    memcpy(long_header, "Bearer ", 7);
    assert_int_equal(check(long_header, 1000), PROBLEM_BAD_TOKEN);
    mem_free(long_header);
}

static void test_good_and_cached(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf h = bearer(42, 2000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(check(h.data, 1500), PROBLEM_NONE);
        assert_int_equal(user, 42);
    }
    memcpy(h.data, "bEARER", 6);
    assert_int_equal(check(h.data, 1500), PROBLEM_NONE);
    assert_int_equal(check(h.data, 2000), PROBLEM_TOKEN_EXPIRED); /* from the cache */
    assert_int_equal(check(h.data, 2000), PROBLEM_TOKEN_EXPIRED); /* and without it */
}

static void test_forged(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf h = bearer(42, 2000);
    assert_int_equal(check(h.data, 1500), PROBLEM_NONE);
    size_t middle = (size_t)(strrchr(h.data, '.') - h.data) - 3;
    h.data[middle] = h.data[middle] == 'A' ? 'B' : 'A';
    assert_int_equal(check(h.data, 1500), PROBLEM_BAD_TOKEN);
    assert_int_equal(user, 0);
}

static void test_many_tokens_share_places(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++)
        for (uint64_t u = 1; u <= 10000; u += 1) {
            CLEANUP(buf_fini) struct buf h = bearer(u, 2000);
            assert_int_equal(check(h.data, 1500), PROBLEM_NONE);
            assert_int_equal(user, u);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_good_and_cached),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_many_tokens_share_places),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
