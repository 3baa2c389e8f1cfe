/*
 * HTTP client: a few keep-alive connections to one address, and a queue in front of them.
 *
 *   send -> waiting --(hook: idle connection, else a free place: connect)--> written -> reply -> done, connection idle
 *
 * Invariants
 * - http_client_send only queues; whatever completes a request runs from the loop, so done is never called inside send.
 * - A request is in `waiting`, or on exactly one connection, or in `spare`. Its timer runs while it is in the first
 *   two.
 * - A request that the server may have seen is not sent again, but for one case: the connection had carried a request
 *   before, died without a byte of this one's reply (the server closed it while we wrote), and the method is
 *   idempotent. Then it goes once more, on a fresh connection.
 * - done may call anything, http_client_free too: the struct stays until the outermost callback has returned.
 *
 * It does not resolve names (an IPv4 address or "localhost"), follow redirects, pipeline, or speak TLS.
 */
#include "common/sys/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/sys/http_parser.h"

enum { SPARES_MAX = 256, OUT_KEPT = 64 * 1024, READ_BYTES = 16 * 1024 };

struct request {
    struct http_client *client; /* (ref) */
    struct conn *conn;          /* (ref) NULL while waiting */
    struct list link;
    struct loop_timer timer;
    http_reply_fn *done;
    void *ctx;
    struct buf out; /* (own) the whole request */
    bool head, idempotent;
    bool fresh; /* being retried: on a new connection only */
};

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY };

struct conn {
    struct http_client *client; /* (ref) */
    struct loop_watch watch;
    enum conn_state state;
    struct list link;        /* in client->closed or ->idle */
    struct request *request; /* (own) while connecting or busy */
    size_t written;          /* bytes of request->out */
    bool used;               /* has carried a whole exchange */
    struct http_parser parser;
};

struct http_client {
    struct loop *loop; /* (ref) */
    struct sockaddr_in address;
    char *host;         /* (own) for the Host header */
    struct conn *conns; /* (own) */
    unsigned conn_count;
    struct list closed, idle; /* of conns; idle ones: last used first */
    struct list waiting;      /* (own) requests */
    struct list spare;
    unsigned waiting_count, waiting_max, spares;
    unsigned active; /* connections that carry a request */
    struct loop_hook hook;
    unsigned depth; /* of callbacks of ours on the stack */
    bool dying;
};

struct str http_reply_header(const struct http_reply *r, const char *name) {
    return http_header_find(r->headers, name);
}

/* Callbacks nest: the last one out frees a client that was given up meanwhile. */

static void enter(struct http_client *c) {
    c->depth++;
}

static void leave(struct http_client *c) {
    if (--c->depth > 0 || !c->dying) return;
    for (struct list *n; (n = list_pop(&c->spare));) {
        struct request *r = CONTAINER_OF(n, struct request, link);
        buf_fini(&r->out);
        mem_free(r);
    }
    for (unsigned i = 0; i < c->conn_count; i++) http_parser_fini(&c->conns[i].parser);
    mem_free(c->conns);
    mem_free(c->host);
    mem_free(c);
}

/* Requests */

static struct request *request_new(struct http_client *c) {
    struct list *n = list_pop(&c->spare);
    if (!n) return NEW(struct request);
    c->spares--;
    struct request *r = CONTAINER_OF(n, struct request, link);
    struct buf out = r->out;
    *r = (struct request){.out = out};
    return r;
}

/* Completes it; r is not to be touched after this. */
static void request_finish(struct request *r, enum err err, const struct http_reply *reply) {
    struct http_client *c = r->client;
    http_reply_fn *done = r->done;
    void *ctx = r->ctx;
    loop_timer_stop(&r->timer);
    list_del(&r->link);
    if (c->spares < SPARES_MAX && r->out.cap <= OUT_KEPT) {
        buf_clear(&r->out);
        c->spares++;
        list_add_head(&c->spare, &r->link);
    } else {
        buf_fini(&r->out);
        mem_free(r);
    }
    done(ctx, err, reply);
}

static void request_wait(struct request *r, bool first) {
    struct http_client *c = r->client;
    r->conn = NULL;
    if (first) {
        list_add_head(&c->waiting, &r->link);
    } else {
        list_add_tail(&c->waiting, &r->link);
    }
    c->waiting_count++;
    loop_again(c->loop);
}

/* Connections */

static void conn_carry(struct conn *k, struct request *r) {
    if (r && !k->request) k->client->active++;
    if (!r && k->request) k->client->active--;
    k->request = r;
    if (r) r->conn = k;
}

static void conn_close(struct conn *k) {
    if (k->state == CONN_CLOSED) return;
    loop_unwatch(&k->watch);
    close(k->watch.fd);
    k->watch.fd = -1;
    k->state = CONN_CLOSED;
    conn_carry(k, NULL);
    k->used = false;
    list_del(&k->link);
    list_add_tail(&k->client->closed, &k->link);
}

/* The connection is of no use any more; what it carried is retried or completes with err. */
static void conn_fail(struct conn *k, enum err err) {
    struct request *r = k->request;
    bool stale = k->used && k->parser.raw.len == 0 && err == ERR_LOST;
    conn_close(k);
    if (!r) return;
    if (stale && r->idempotent && !r->fresh) {
        r->fresh = true;
        request_wait(r, true);
        return;
    }
    request_finish(r, err, NULL);
}

static void conn_write(struct conn *k) {
    struct buf *out = &k->request->out;
    while (k->written < out->len) {
        ssize_t n = send(k->watch.fd, out->data + k->written, out->len - k->written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            loop_watch_events(&k->watch, LOOP_READ | LOOP_WRITE);
            return;
        }
        if (n < 0) break; /* a reply may have come before the reset: reading tells */
        k->written += (size_t)n;
    }
    loop_watch_events(&k->watch, LOOP_READ);
}

static void conn_start(struct conn *k, struct request *r) {
    k->state = CONN_BUSY;
    conn_carry(k, r);
    k->written = 0;
    http_parser_begin(&k->parser, r->head);
    conn_write(k);
}

static void conn_done(struct conn *k) {
    struct request *r = k->request;
    struct http_parser *p = &k->parser;
    bool keep = p->keep_alive && !http_parser_surplus(p) && k->written == r->out.len;
    struct http_reply reply = {.status = p->status, .headers = http_parser_headers(p), .body = http_parser_body(p)};
    /* The parser keeps its memory until the next request begins, which no callback can make happen now. */
    if (keep) {
        k->state = CONN_IDLE;
        k->used = true;
        conn_carry(k, NULL);
        list_add_head(&k->client->idle, &k->link);
    } else {
        conn_close(k);
    }
    request_finish(r, ERR_OK, &reply);
}

static void conn_read(struct conn *k) {
    struct buf *raw = &k->parser.raw;
    for (;;) {
        buf_reserve(raw, READ_BYTES);
        size_t room = raw->cap - raw->len - 1;
        ssize_t n = recv(k->watch.fd, raw->data + raw->len, room, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) {
            conn_fail(k, ERR_LOST);
            return;
        }
        raw->len += (size_t)n;
        raw->data[raw->len] = '\0';
        switch (http_parser_run(&k->parser, n == 0)) {
        case HTTP_PARSE_DONE:
            conn_done(k);
            return;
        case HTTP_PARSE_BAD:
            conn_fail(k, n == 0 ? ERR_LOST : ERR_PROTOCOL);
            return;
        case HTTP_PARSE_MORE:
            break;
        }
        if ((size_t)n < room) return;
    }
}

static void connected(struct conn *k) {
    int e = 0;
    socklen_t len = sizeof e;
    getsockopt(k->watch.fd, SOL_SOCKET, SO_ERROR, &e, &len);
    if (e) {
        conn_fail(k, ERR_REFUSED);
    } else {
        conn_start(k, k->request);
    }
}

static void conn_ready(struct loop_watch *w, uint32_t events) {
    struct conn *k = CONTAINER_OF(w, struct conn, watch);
    struct http_client *c = k->client;
    enter(c);
    switch (k->state) {
    case CONN_CONNECTING:
        connected(k);
        break;
    case CONN_BUSY:
        if (events & LOOP_WRITE) conn_write(k);
        if (events & (LOOP_READ | LOOP_ERROR)) conn_read(k);
        break;
    case CONN_IDLE: /* closed by the server, or bytes that nobody asked for */
    case CONN_CLOSED:
        conn_close(k);
        break;
    }
    leave(c);
}

/* Takes r in any case. */
static void conn_open(struct conn *k, struct request *r) {
    struct http_client *c = k->client;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        request_finish(r, ERR_REFUSED, NULL);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bool at_once = !connect(fd, (struct sockaddr *)&c->address, sizeof c->address);
    if (!at_once && errno != EINPROGRESS) {
        close(fd);
        request_finish(r, ERR_REFUSED, NULL);
        return;
    }
    list_del(&k->link);
    k->watch = (struct loop_watch){.fd = fd, .events = at_once ? LOOP_READ : LOOP_WRITE, .ready = conn_ready};
    loop_watch(c->loop, &k->watch);
    buf_clear(&k->parser.raw);
    k->parser.at = 0;
    k->state = CONN_CONNECTING;
    conn_carry(k, r);
    if (at_once) conn_start(k, r);
}

/* A connection for the first that waits: the one used last, so that few stay warm; or a new one. NULL: all are busy. */
static struct conn *conn_pick(struct http_client *c, bool fresh) {
    if (!list_empty(&c->idle) && (!fresh || list_empty(&c->closed))) {
        struct conn *k = CONTAINER_OF(fresh ? c->idle.prev : c->idle.next, struct conn, link);
        if (fresh) conn_close(k);
        return k;
    }
    return list_empty(&c->closed) ? NULL : CONTAINER_OF(c->closed.next, struct conn, link);
}

static uint64_t dispatch(struct loop_hook *h) {
    struct http_client *c = CONTAINER_OF(h, struct http_client, hook);
    enter(c);
    /* Only those that wait now: a callback of a refused one may send the next, for ever. */
    for (unsigned n = c->waiting_count; n > 0 && c->waiting_count > 0; n--) {
        struct request *r = CONTAINER_OF(c->waiting.next, struct request, link);
        struct conn *k = conn_pick(c, r->fresh);
        if (!k) break;
        list_del(&r->link);
        c->waiting_count--;
        if (k->state == CONN_IDLE) {
            list_del(&k->link);
            conn_start(k, r);
        } else {
            conn_open(k, r);
        }
    }
    leave(c);
    return UINT64_MAX; /* request_wait asks for another turn; a reply makes one anyway */
}

static void expired(struct loop_timer *t) {
    struct request *r = CONTAINER_OF(t, struct request, timer);
    struct http_client *c = r->client;
    enter(c);
    if (!r->conn) {
        list_del(&r->link);
        c->waiting_count--;
        request_finish(r, ERR_REFUSED, NULL);
    } else {
        struct conn *k = r->conn;
        bool sent = k->state == CONN_BUSY;
        conn_close(k);
        loop_again(c->loop); /* its place is free */
        request_finish(r, sent ? ERR_TIMEOUT : ERR_REFUSED, NULL);
    }
    leave(c);
}

/* The client */

static bool parse_url(const char *url, struct sockaddr_in *ret_address, char **ret_host) {
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0) return false;
    const char *host = url + sizeof scheme - 1;
    size_t authority = strcspn(host, "/?#");
    if (host[authority] && strcmp(host + authority, "/") != 0) return false;
    const char *colon = memchr(host, ':', authority);
    size_t name = colon ? (size_t)(colon - host) : authority;
    uint64_t port = 80;
    if (colon && (!str_u64(str_of(colon + 1, authority - name - 1), &port) || !port || port > 65535)) return false;
    CLEANUP(mem_free_charp) char *text = mem_strndup(host, name);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, strcmp(text, "localhost") ? text : "127.0.0.1", &in.sin_addr) != 1) return false;
    *ret_address = in;
    *ret_host = mem_strndup(host, authority);
    return true;
}

enum err http_client_new(struct loop *loop, const char *url, unsigned connections, unsigned max_waiting,
                         struct http_client **ret) {
    struct sockaddr_in address;
    char *host;
    if (!connections || !parse_url(url, &address, &host)) return ERR_INVALID;
    struct http_client *c = NEW(struct http_client);
    c->loop = loop;
    c->address = address;
    c->host = host;
    c->waiting_max = max_waiting;
    c->conn_count = connections;
    list_init(&c->closed);
    list_init(&c->idle);
    list_init(&c->waiting);
    list_init(&c->spare);
    c->conns = NEW_ARRAY(struct conn, connections);
    for (unsigned i = 0; i < connections; i++) {
        c->conns[i] = (struct conn){.client = c, .watch = {.fd = -1}};
        http_parser_init(&c->conns[i].parser);
        list_add_tail(&c->closed, &c->conns[i].link);
    }
    c->hook.run = dispatch;
    loop_hook_add(loop, &c->hook);
    *ret = c;
    return ERR_OK;
}

void http_client_free(struct http_client **cp) {
    struct http_client *c = *cp;
    if (!c) return;
    *cp = NULL;
    c->dying = true;
    enter(c);
    loop_hook_del(&c->hook);
    for (unsigned i = 0; i < c->conn_count; i++) {
        struct request *r = c->conns[i].request;
        conn_close(&c->conns[i]);
        if (r) request_finish(r, ERR_CANCELED, NULL);
    }
    while (!list_empty(&c->waiting)) {
        c->waiting_count--;
        request_finish(CONTAINER_OF(c->waiting.next, struct request, link), ERR_CANCELED, NULL);
    }
    leave(c);
}

static bool is_token(const char *s) {
    size_t len = strlen(s);
    return len > 0 && len == strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
}

static bool is_target(const char *s) {
    if (*s != '/' && strcmp(s, "*") != 0) return false;
    for (; *s; s++) {
        if ((unsigned char)*s <= ' ' || *s == 0x7f) return false;
    }
    return true;
}

static bool is_one_of(const char *s, const char *const *names) {
    for (; *names; names++) {
        if (!strcmp(s, *names)) return true;
    }
    return false;
}

static void write_request(const struct http_client *c, struct buf *out, const char *method, const char *target,
                          struct str headers, struct str body) {
    static const char *const with_body[] = {"POST", "PUT", "PATCH", NULL};
    buf_reserve(out, headers.len + body.len + 256);
    buf_add_c(out, method);
    buf_add_char(out, ' ');
    buf_add_c(out, target);
    buf_add_c(out, " HTTP/1.1\r\nHost: ");
    buf_add_c(out, c->host);
    buf_add_c(out, "\r\n");
    buf_add_str(out, headers);
    if (body.len || is_one_of(method, with_body)) {
        buf_add_c(out, "Content-Length: ");
        buf_add_u64(out, body.len);
        buf_add_c(out, "\r\n");
    }
    buf_add_c(out, "\r\n");
    buf_add_str(out, body);
}

enum err http_client_send(struct http_client *c, const char *method, const char *target, struct str headers,
                          struct str body, uint64_t timeout_ms, http_reply_fn *done, void *ctx) {
    static const char *const idempotent[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", NULL};
    if (c->dying) return ERR_CANCELED;
    if (!is_token(method) || !is_target(target)) return ERR_INVALID;
    if (headers.len && (headers.len < 2 || memcmp(headers.data + headers.len - 2, "\r\n", 2))) return ERR_INVALID;
    /* Free connections are given out in the next turn, so what waits for them does not count. */
    if (c->waiting_count >= (uint64_t)c->waiting_max + (c->conn_count - c->active)) return ERR_BUSY;
    struct request *r = request_new(c);
    r->client = c;
    r->done = done;
    r->ctx = ctx;
    r->head = !strcmp(method, "HEAD");
    r->idempotent = is_one_of(method, idempotent);
    r->timer.fire = expired;
    write_request(c, &r->out, method, target, headers, body);
    request_wait(r, false);
    loop_timer_start(c->loop, &r->timer, timeout_ms);
    return ERR_OK;
}
