/*
 * One request: what the handler may read of it, and its answer.
 *
 * The object lives from the request line until both have happened: the answer (or `abandoned`), and MHD's word that the
 * exchange is over. Objects are reused with their arena and body buffer, so a request in the usual run costs no
 * allocation here.
 *
 * The raw target is copied when the request line arrives, because MHD cuts it up and decodes it in place.
 */
#include <netinet/in.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/http_private.h"

enum { SPARES_MAX = 128, ARENA_BLOCK = 8192, BODY_KEPT = 16384 };

struct http_request *http_request_new(struct http_server *s, struct http_conn *c, struct MHD_Connection *connection,
                                      const char *target) {
    struct http_request *r;
    struct list *n = list_pop(&s->spare);
    if (n) {
        s->spares--;
        r = CONTAINER_OF(n, struct http_request, link);
        struct arena arena = r->arena;
        struct buf body = r->body;
        *r = (struct http_request){.arena = arena, .body = body};
    } else {
        r = NEW(struct http_request);
        arena_init(&r->arena, ARENA_BLOCK);
    }
    r->server = s;
    r->conn = c;
    r->connection = connection;
    r->method = HTTP_OTHER;
    r->started_ns = clock_mono_ns();
    size_t len = strlen(target);
    r->target = str_of(arena_strndup(&r->arena, target, len), len);
    const char *mark = memchr(r->target.data, '?', len);
    size_t path_len = mark ? (size_t)(mark - r->target.data) : len;
    r->path = str_of(r->target.data, path_len);
    r->query = mark ? str_of(mark + 1, len - path_len - 1) : str_of("", 0);
    return r;
}

void http_request_free(struct http_request *r) {
    list_del(&r->link);
    arena_fini(&r->arena);
    buf_fini(&r->body);
    mem_free(r);
}

void http_request_release(struct http_request *r) {
    struct http_server *s = r->server;
    if (!s || s->spares >= SPARES_MAX) {
        http_request_free(r);
        return;
    }
    list_del(&r->link);
    arena_reset(&r->arena);
    if (r->body.cap > BODY_KEPT) {
        buf_fini(&r->body);
    } else {
        buf_clear(&r->body);
    }
    s->spares++;
    list_add_head(&s->spare, &r->link);
}

void http_request_hand_out(struct http_request *r) {
    struct http_server *s = r->server;
    r->handed = true;
    s->in_flight++;
    list_add_tail(&s->handed, &r->link);
    http_phase_set(r->conn, HTTP_PHASE_HANDED);
    s->options.handle(s->options.ctx, r);
    if (r->answered) return;
    r->suspended = true;
    MHD_suspend_connection(r->connection);
}

/* What the handler reads */

enum http_method http_method(const struct http_request *r) {
    return r->method;
}

struct str http_path(const struct http_request *r) {
    return r->path;
}

struct str http_body(const struct http_request *r) {
    return buf_str(&r->body);
}

struct arena *http_arena(struct http_request *r) {
    return &r->arena;
}

uint64_t http_started_ns(const struct http_request *r) {
    return r->started_ns;
}

void http_set_data(struct http_request *r, void *data) {
    r->data = data;
}

void *http_data(const struct http_request *r) {
    return r->data;
}

struct str http_header(const struct http_request *r, const char *name) {
    const char *value = NULL;
    size_t len = 0;
    if (!r->connection ||
        MHD_lookup_connection_value_n(r->connection, MHD_HEADER_KIND, name, strlen(name), &value, &len) == MHD_NO) {
        return (struct str){0};
    }
    return str_of(value, value ? len : 0);
}

struct str http_peer(const struct http_request *r) {
    if (!r->connection) return (struct str){0};
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!info || !info->client_addr || info->client_addr->sa_family != AF_INET) return (struct str){0};
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)info->client_addr;
    return str_of((const char *)&in->sin_addr, sizeof(in->sin_addr));
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* '+' is a blank. A bad escape stays as it is, and so does %00: names and values are C strings too. */
static struct str decode(struct arena *a, const char *from, size_t len) {
    char *to = arena_alloc(a, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = from[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < len) {
            int high = hex(from[i + 1]), low = hex(from[i + 2]);
            if (high >= 0 && low >= 0 && (high | low)) {
                c = (char)(high << 4 | low);
                i += 2;
            }
        }
        to[n++] = c;
    }
    to[n] = '\0';
    return str_of(to, n);
}

static void parse_query(struct http_request *r) {
    if (r->params || !r->query.len) return;
    size_t most = 1;
    for (size_t i = 0; i < r->query.len; i++) most += r->query.data[i] == '&';
    r->params = ARENA_ARRAY(&r->arena, struct http_param, most);
    const char *p = r->query.data, *end = p + r->query.len;
    while (p < end) {
        const char *next = memchr(p, '&', (size_t)(end - p));
        if (!next) next = end;
        const char *equals = memchr(p, '=', (size_t)(next - p));
        const char *name_end = equals ? equals : next;
        const char *value = equals ? equals + 1 : next;
        if (next > p) {
            r->params[r->param_count++] =
                (struct http_param){.name = decode(&r->arena, p, (size_t)(name_end - p)).data,
                                    .value = decode(&r->arena, value, (size_t)(next - value))};
        }
        p = next + 1;
    }
}

struct str http_query(struct http_request *r, const char *name) {
    parse_query(r);
    for (size_t i = 0; i < r->param_count; i++) {
        if (!strcmp(r->params[i].name, name)) return r->params[i].value;
    }
    return (struct str){0};
}

void http_query_each(struct http_request *r, void (*fn)(void *ctx, const char *name, const char *value), void *ctx) {
    parse_query(r);
    for (size_t i = 0; i < r->param_count; i++) fn(ctx, r->params[i].name, r->params[i].value.data);
}

/* The answer */

void http_add_header(struct http_request *r, const char *name, const char *value) {
    struct http_header *h = ARENA_NEW(&r->arena, struct http_header);
    *h = (struct http_header){.next = r->headers,
                              .name = arena_strndup(&r->arena, name, strlen(name)),
                              .value = arena_strndup(&r->arena, value, strlen(value))};
    r->headers = h;
}

static struct MHD_Response *make_response(struct http_request *r, const char *content_type, struct buf *body) {
    size_t len = 0;
    char *bytes = buf_take(body, &len);
    struct MHD_Response *response;
    if (bytes) {
        response = MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_FREE); /* mem_free is free(3) */
    } else {
        response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    }
    if (!response) {
        mem_free(bytes);
        return NULL;
    }
    if (content_type) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    for (struct http_header *h = r->headers; h; h = h->next) MHD_add_response_header(response, h->name, h->value);
    if (r->server->draining) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return response;
}

void http_respond(struct http_request *r, unsigned status, const char *content_type, struct buf *body) {
    struct http_server *s = r->server;
    r->answered = true;
    if (!r->conn) { /* the client went away unnoticed by the handler */
        buf_fini(body);
        http_request_release(r);
        return;
    }
    if (!content_type) buf_clear(body);
    list_del(&r->link);
    s->in_flight--;
    http_phase_set(r->conn, HTTP_PHASE_SENDING);
    struct MHD_Response *response = make_response(r, content_type, body);
    if (response) {
        /* Should it be refused, MHD calls the handler's callback once more and is told to close. */
        MHD_queue_response(r->connection, status, response);
        MHD_destroy_response(response);
    }
    if (!r->suspended) return;
    r->suspended = false;
    MHD_resume_connection(r->connection);
    s->due = true;
    loop_again(s->loop);
}
