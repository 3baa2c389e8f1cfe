/* Content records: the JSON clients see, and records that do not fit their key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/domain/content.h"

/* 2024-01-01T00:00:01.500Z */
#define POST_ID (UINT64_C(1500) << 22 | UINT64_C(3) << 12 | 7)

static void a_post_is_put_together(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf post = BUF_INIT, user = BUF_INIT, counts = BUF_INIT, json = BUF_INIT;
    post_record_encode(POST_ID, 55, STR("say \"hi\"\n\xf0\x9f\x98\x80"), 0, &post);
    user_record_encode(55, STR("ann"), STR("Ann \\ B"), str_of(NULL, 0), &user);
    counts_record_encode((struct counts_record){3, UINT64_MAX}, &counts);
    struct post_record p;
    struct user_record u;
    struct counts_record c;
    assert_int_equal(post_record_decode(POST_ID, buf_str(&post), &p), ERR_OK);
    assert_int_equal(user_record_decode(55, buf_str(&user), &u), ERR_OK);
    assert_int_equal(counts_record_decode(buf_str(&counts), &c), ERR_OK);
    assert_int_equal(p.author_id, 55);
    post_write_json(&p, &u, c, &json);
    assert_string_equal(json.data,
                        "{\"id\":\"6291468295\",\"text\":\"say \\\"hi\\\"\\n\xf0\x9f\x98\x80\","
                        "\"created_at\":\"2024-01-01T00:00:01.500Z\",\"author\":{\"id\":\"55\",\"handle\":\"ann\","
                        "\"name\":\"Ann \\\\ B\",\"picture\":null},\"likes\":3,\"replies\":18446744073709551615}");
}

static void replies_and_pictures(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf post = BUF_INIT, user = BUF_INIT;
    post_record_encode(POST_ID, 55, STR(""), 99, &post);
    struct post_record p;
    assert_int_equal(post_record_decode(POST_ID, buf_str(&post), &p), ERR_OK);
    assert_true(str_eq_c(p.members, "\"id\":\"6291468295\",\"text\":\"\",\"created_at\":\"2024-01-01T00:00:01.500Z\","
                                    "\"in_reply_to\":\"99\""));
    user_record_encode(55, STR("ann"), STR(""), STR("https://x/\"y"), &user);
    struct user_record u;
    assert_int_equal(user_record_decode(55, buf_str(&user), &u), ERR_OK);
    assert_true(str_eq_c(u.object, "{\"id\":\"55\",\"handle\":\"ann\",\"name\":\"\",\"picture\":\"https://x/\\\"y\"}"));
}

static void posts_that_do_not_fit_are_refused(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf post = BUF_INIT;
    post_record_encode(POST_ID, 55, STR("x"), 0, &post);
    struct post_record p = {.post_id = 42};
    assert_int_equal(post_record_decode(POST_ID + 1, buf_str(&post), &p), ERR_CORRUPT);
    for (size_t len = 0; len <= 24; len++) {
        assert_int_equal(post_record_decode(POST_ID, str_of(post.data, len), &p), ERR_CORRUPT);
    }
    for (size_t i = 0; i < 16; i++) {
        post.data[i] ^= 1;
        assert_int_equal(post_record_decode(POST_ID, buf_str(&post), &p), ERR_CORRUPT);
        post.data[i] ^= 1;
    }
    be64_store(post.data + 16, 0);
    assert_int_equal(post_record_decode(POST_ID, buf_str(&post), &p), ERR_CORRUPT);
    be64_store(post.data + 16, UINT64_MAX);
    assert_int_equal(post_record_decode(POST_ID, buf_str(&post), &p), ERR_CORRUPT);
    assert_int_equal(p.post_id, 42);
}

static void users_and_counts_that_do_not_fit_are_refused(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf user = BUF_INIT, counts = BUF_INIT;
    user_record_encode(55, STR("ann"), STR("Ann"), str_of(NULL, 0), &user);
    struct user_record u = {.user_id = 42};
    assert_int_equal(user_record_decode(56, buf_str(&user), &u), ERR_CORRUPT);
    for (size_t len = 0; len < user.len; len++) { /* cut anywhere: the closing brace is missing */
        assert_int_equal(user_record_decode(55, str_of(user.data, len), &u), ERR_CORRUPT);
    }
    user.data[0] = 2;
    assert_int_equal(user_record_decode(55, buf_str(&user), &u), ERR_CORRUPT);
    assert_int_equal(u.user_id, 42);
    counts_record_encode((struct counts_record){1, 2}, &counts);
    struct counts_record c = {42, 42};
    assert_int_equal(counts_record_decode(str_of(counts.data, 23), &c), ERR_CORRUPT);
    buf_add_char(&counts, 'x');
    assert_int_equal(counts_record_decode(buf_str(&counts), &c), ERR_CORRUPT);
    counts.data[7] = 1;
    assert_int_equal(counts_record_decode(str_of(counts.data, 24), &c), ERR_CORRUPT);
    assert_int_equal(c.likes, 42);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_post_is_put_together),
        cmocka_unit_test(replies_and_pictures),
        cmocka_unit_test(posts_that_do_not_fit_are_refused),
        cmocka_unit_test(users_and_counts_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
