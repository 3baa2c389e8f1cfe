/* Admin endpoint: GET and HEAD of what service_endpoint knows; all else is a 404. For operators, bound to loopback by
 * default. */
#include "common/service/admin.h"

#include "common/base/mem.h"
#include "common/sys/http.h"
#include "common/sys/json.h"

static const char PROBLEM_TYPE[] = "application/problem+json";

static void add_problem(unsigned status, const char *detail, struct buf *to) {
    buf_addf(to, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
             status == 404 ? "Not Found" : "Error", status);
    json_write_string(to, str_c(detail));
    buf_add_char(to, '}');
}

static void problem(void *ctx, unsigned status, const char *detail, struct buf *to, const char **ret_content_type) {
    (void)ctx;
    add_problem(status, detail, to);
    *ret_content_type = PROBLEM_TYPE;
}

static void handle(void *ctx, struct http_request *r) {
    CLEANUP(buf_fini) struct buf body = BUF_INIT;
    unsigned status = 404;
    const char *content_type = PROBLEM_TYPE;
    bool read_only = http_method(r) == HTTP_GET || http_method(r) == HTTP_HEAD;
    if (!read_only || !service_endpoint(ctx, http_path(r), &status, &content_type, &body))
        add_problem(404, "GET /healthz, /readyz and /metrics are what there is", &body);
    http_respond(r, status, content_type, &body);
}

enum err admin_new(struct service *s, const char *address, uint16_t port, struct http_server **ret,
                   char **ret_message) {
    struct http_options options = {
        .address = address,
        .port = port,
        .max_connections = 64,
        .idle_timeout_s = 30,
        .max_body = 1024,
        .handle = handle,
        .problem = problem,
        .ctx = s,
    };
    return http_server_new(s->loop, &options, ret, ret_message);
}
