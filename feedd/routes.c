/*
 * The table of calls, and finding the line for a method and a path. A path with an {id} that is not an id matches
 * nothing: 404, as for an id that nobody has.
 */
#include "feedd/routes.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/domain/id.h"
#include "feedd/handlers.h"

static const struct route ROUTES[] = {
    {HTTP_GET, "/v1/me/feed", false, false, LIMIT_READS, {"limit", "cursor"}, feed_get},
    {HTTP_POST, "/v1/me/feed", false, true, LIMIT_POSTS, {0}, feed_post},
    {HTTP_POST, "/v1/users", true, true, LIMIT_SIGN_IN, {0}, sign_up},
    {HTTP_POST, "/v1/sessions", true, true, LIMIT_SIGN_IN, {0}, log_in},
    {HTTP_GET, "/v1/me", false, false, LIMIT_READS, {0}, me_get},
    {HTTP_PATCH, "/v1/me", false, true, LIMIT_READS, {0}, me_patch},
    {HTTP_GET, "/v1/users/{id}", false, false, LIMIT_READS, {0}, user_get},
    {HTTP_GET, "/v1/users/{id}/feed", false, false, LIMIT_READS, {"limit", "cursor"}, author_feed_get},
    {HTTP_GET, "/v1/users/{id}/followers", false, false, LIMIT_READS, {"limit", "cursor"}, followers_list},
    {HTTP_GET, "/v1/users/{id}/following", false, false, LIMIT_READS, {"limit", "cursor"}, following_list},
    {HTTP_PUT, "/v1/me/following/{id}", false, false, LIMIT_READS, {0}, following_put},
    {HTTP_DELETE, "/v1/me/following/{id}", false, false, LIMIT_READS, {0}, following_delete},
    {HTTP_GET, "/v1/me/blocks", false, false, LIMIT_READS, {"limit", "cursor"}, blocks_list},
    {HTTP_PUT, "/v1/me/blocks/{id}", false, false, LIMIT_READS, {0}, block_put},
    {HTTP_DELETE, "/v1/me/blocks/{id}", false, false, LIMIT_READS, {0}, block_delete},
    {HTTP_GET, "/v1/me/mutes", false, false, LIMIT_READS, {"limit", "cursor"}, mutes_list},
    {HTTP_PUT, "/v1/me/mutes/{id}", false, false, LIMIT_READS, {0}, mute_put},
    {HTTP_DELETE, "/v1/me/mutes/{id}", false, false, LIMIT_READS, {0}, mute_delete},
    {HTTP_GET, "/v1/posts/{id}", false, false, LIMIT_READS, {0}, post_get},
    {HTTP_DELETE, "/v1/posts/{id}", false, false, LIMIT_READS, {0}, post_delete},
    {HTTP_PUT, "/v1/posts/{id}/like", false, false, LIMIT_READS, {0}, like_put},
    {HTTP_DELETE, "/v1/posts/{id}/like", false, false, LIMIT_READS, {0}, like_delete},
};

size_t routes_count(void) {
    return ARRAY_LEN(ROUTES);
}

const struct route *routes_at(size_t index) {
    return &ROUTES[index];
}

size_t route_index(const struct route *route) {
    return (size_t)(route - ROUTES);
}

const char *route_method_name(enum http_method method) {
    static const char *const NAMES[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"};
    return NAMES[method];
}

static bool path_matches(const char *pattern, struct str path, uint64_t *ret_id) {
    size_t at = 0;
    uint64_t id = 0;
    while (*pattern) {
        if (*pattern == '{') {
            size_t end = at;
            while (end < path.len && path.data[end] != '/') end++;
            if (!id_parse(str_of(path.data + at, end - at), &id)) return false;
            at = end;
            pattern = strchr(pattern, '}') + 1;
        } else {
            if (at == path.len || path.data[at] != *pattern) return false;
            at++;
            pattern++;
        }
    }
    if (at != path.len) return false;
    *ret_id = id;
    return true;
}

enum route_match routes_find(enum http_method method, struct str path, const struct route **ret, uint64_t *ret_id,
                             char ret_allow[static ROUTE_ALLOW_MAX]) {
    if (method == HTTP_HEAD) method = HTTP_GET;
    size_t len = 0;
    ret_allow[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        uint64_t id = 0;
        if (!path_matches(ROUTES[i].pattern, path, &id)) continue;
        if (ROUTES[i].method == method) {
            *ret = &ROUTES[i];
            *ret_id = id;
            return ROUTE_FOUND;
        }
        len += (size_t)snprintf(ret_allow + len, ROUTE_ALLOW_MAX - len, "%s%s%s", len ? ", " : "",
                                route_method_name(ROUTES[i].method), ROUTES[i].method == HTTP_GET ? ", HEAD" : "");
    }
    return len ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

bool route_allows_query(const struct route *route, const char *name) {
    for (int i = 0; i < ROUTE_QUERY_MAX; i++)
        if (route->query[i] && strcmp(route->query[i], name) == 0) return true;
    return false;
}
