/* Routes: what a method and a path find, what is 404 and what is 405, and that the table is sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "feedd/handlers.h"
#include "feedd/routes.h"

static const struct route *route;
static uint64_t id;
static char allow[ROUTE_ALLOW_MAX];

static enum route_match find(enum http_method method, const char *path) {
    route = NULL;
    id = 0;
    return routes_find(method, str_c(path), &route, &id, allow);
}

static void test_found(void **state) {
    (void)state;
    assert_int_equal(find(HTTP_GET, "/v1/me/feed"), ROUTE_FOUND);
    assert_true(route->handle == feed_get && id == 0);
    assert_int_equal(find(HTTP_POST, "/v1/me/feed"), ROUTE_FOUND);
    assert_true(route->handle == feed_post && route->body && !route->open);
    assert_int_equal(find(HTTP_GET, "/v1/users/77"), ROUTE_FOUND);
    assert_true(route->handle == user_get && id == 77);
    assert_int_equal(find(HTTP_GET, "/v1/users/77/followers"), ROUTE_FOUND);
    assert_true(route->handle == followers_list && id == 77);
    assert_int_equal(find(HTTP_DELETE, "/v1/posts/9223372036854775807/like"), ROUTE_FOUND);
    assert_true(route->handle == like_delete && id == INT64_MAX);
    assert_int_equal(find(HTTP_POST, "/v1/sessions"), ROUTE_FOUND);
    assert_true(route->open);
    assert_int_equal(find(HTTP_HEAD, "/v1/me"), ROUTE_FOUND);
    assert_true(route->handle == me_get);
}

static void test_no_path(void **state) {
    (void)state;
    static const char *const PATHS[] = {"/",
                                        "",
                                        "/v1",
                                        "/v1/",
                                        "/v1/me/",
                                        "/v1/users/",
                                        "/v1/users/x",
                                        "/v1/users/0",
                                        "/v1/users/01",
                                        "/v1/users/-1",
                                        "/v1/users/77/",
                                        "/v1/users/77/feeds",
                                        "/v1/users//feed",
                                        "/v1/users/9223372036854775808",
                                        "/v1/users/1%30",
                                        "/v1/posts/1/like/2",
                                        "/V1/me"};
    for (size_t i = 0; i < sizeof(PATHS) / sizeof(PATHS[0]); i++)
        assert_int_equal(find(HTTP_GET, PATHS[i]), ROUTE_NO_PATH);
}

static void test_no_method(void **state) {
    (void)state;
    assert_int_equal(find(HTTP_DELETE, "/v1/me"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "GET, HEAD, PATCH");
    assert_int_equal(find(HTTP_GET, "/v1/posts/1/like"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "PUT, DELETE");
    assert_int_equal(find(HTTP_OTHER, "/v1/users"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "POST");
    assert_int_equal(find(HTTP_HEAD, "/v1/sessions"), ROUTE_NO_METHOD);
}

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < routes_count(); i++) {
        const struct route *r = routes_at(i);
        assert_int_equal(route_index(r), i);
        assert_non_null(r->handle);
        assert_true(r->limit < LIMIT_NONE);
        assert_true(!r->open || r->limit == LIMIT_SIGN_IN);
        assert_int_equal(r->body, r->method == HTTP_POST || r->method == HTTP_PATCH);
        for (size_t k = 0; k < i; k++)
            assert_false(routes_at(k)->method == r->method && strcmp(routes_at(k)->pattern, r->pattern) == 0);
    }
    assert_int_equal(find(HTTP_GET, "/v1/me/feed"), ROUTE_FOUND);
    assert_true(route_allows_query(route, "limit") && route_allows_query(route, "cursor"));
    assert_false(route_allows_query(route, "Limit"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_no_path),
        cmocka_unit_test(test_no_method),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
