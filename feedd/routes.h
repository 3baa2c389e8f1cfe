/*
 * The routes: one table with everything that is decided before a handler runs. Pure; any thread.
 */
#ifndef FEEDD_ROUTES_H
#define FEEDD_ROUTES_H

#include <stdbool.h>

#include "common/sys/http.h"
#include "feedd/limits.h"

struct request;
#define ROUTE_QUERY_MAX 2
struct route {
    enum http_method method;
    const char *pattern; /* "/v1/users/{id}": {id} is a decimal id */
    bool open;           /* no token needed */
    bool body;           /* takes a JSON body */
    enum limit_kind limit;
    const char *query[ROUTE_QUERY_MAX]; /* allowed parameters */
    void (*handle)(struct request *r);
};

size_t routes_count(void);
const struct route *routes_at(size_t index);
size_t route_index(const struct route *route);
const char *route_method_name(enum http_method method);

#define ROUTE_ALLOW_MAX 64
enum route_match { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };
/* HEAD finds what GET finds. ROUTE_NO_METHOD: ret_allow lists the methods of the path, for the header Allow. *ret_id:
 * the path's {id}, or 0. */
enum route_match routes_find(enum http_method method, struct str path, const struct route **ret, uint64_t *ret_id,
                             char ret_allow[static ROUTE_ALLOW_MAX]);
bool route_allows_query(const struct route *route, const char *name);

#endif
