/*
 * HTTP server: MHD's daemon driven from the event loop.
 *
 *   MHD's epoll descriptor readable, an answer given, a timeout of MHD's due  -> MHD_run in the hook of this turn
 *   MHD_run: request line (uri_seen) -> header -> body pieces -> complete     -> handler -> answer | suspend
 *   http_respond -> resume -> MHD_run -> sent                                 -> completed: the request object ends
 *
 * Invariants
 * - MHD_run is never entered twice: it runs in the hook only, and the hook runs in the loop only.
 * - A request is on exactly one of the lists handed (no answer yet), orphans (client gone, nobody to be told), spare,
 *   or on none.
 * - Refusals are ours as long as the header fits MHD's pool for a connection (problem callback: 408, 413, 414, 431).
 *   Beyond it, and for malformed request lines, headers, chunks or a missing Host, MHD answers with a page of its own
 *   (400, 414, 431, 505) and closes: no callback of ours is reached.
 * - A client that goes away while its request is with the handler is noticed when the answer is sent. `abandoned` is
 *   for exchanges that end before the answer: the server stops.
 *
 * It does not do TLS (the balancer's work), compression, ranges or uploads larger than memory.
 */
#include "common/sys/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/http_private.h"

enum {
    POOL_BYTES = 6144,      /* MHD's memory of a connection: header of the request, then that of the answer */
    TARGET_MAX = 2048,      /* bytes */
    HEADER_MAX = 4096,      /* bytes, with the request line */
    DISCARD_MAX = 1 << 20,  /* bytes read and thrown away after a refusal */
    SPARE_CONNECTIONS = 64, /* MHD's own limit is never reached: at it, it would stop accepting instead of closing */
    BACKLOG = 1024,
    RUNS_A_TURN = 4,
};

static enum http_method method_of(const char *name) {
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {{"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},      {"PUT", HTTP_PUT},
                   {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS}};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (!strcmp(methods[i].name, name)) return methods[i].method;
    }
    return HTTP_OTHER;
}

/* MHD's callbacks */

static enum MHD_Result accept_policy(void *cls, const struct sockaddr *address, socklen_t len) {
    (void)address;
    (void)len;
    const struct http_server *s = cls;
    return s->connections < s->options.max_connections ? MHD_YES : MHD_NO;
}

static void connection_changed(void *cls, struct MHD_Connection *connection, void **socket_context,
                               enum MHD_ConnectionNotificationCode code) {
    struct http_server *s = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct http_conn *c = NEW(struct http_conn);
        c->server = s;
        c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        list_add_tail(&s->phases[HTTP_PHASE_NEW], &c->link);
        http_phase_set(c, HTTP_PHASE_NEW);
        *socket_context = c;
        s->connections++;
        http_deadlines_start(s);
        return;
    }
    struct http_conn *c = *socket_context;
    list_del(&c->link);
    mem_free(c);
    *socket_context = NULL;
    s->connections--;
}

static void *uri_seen(void *cls, const char *target, struct MHD_Connection *connection) {
    struct http_conn *c = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct http_request *r = http_request_new(cls, c, connection, target ? target : "");
    c->request = r;
    http_phase_set(c, HTTP_PHASE_READING);
    return r;
}

static void completed(void *cls, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode code) {
    (void)connection;
    (void)code;
    struct http_server *s = cls;
    struct http_request *r = *context;
    *context = NULL;
    if (!r || !r->conn) return; /* NULL: left to the handler when the server stopped */
    r->conn->request = NULL;
    http_phase_set(r->conn, HTTP_PHASE_KEPT);
    r->conn = NULL;
    r->connection = NULL;
    if (!r->handed || r->answered) {
        http_request_release(r);
        return;
    }
    list_del(&r->link);
    s->in_flight--;
    if (s->options.abandoned) {
        s->options.abandoned(s->options.ctx, r);
        http_request_release(r);
    } else {
        list_add_tail(&s->orphans, &r->link);
    }
}

static enum MHD_Result count_length(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value) {
    unsigned *told = ctx;
    (void)kind;
    bool coding = !strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    if (coding || !strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH)) ++*told;
    if (coding && (!value || strcasecmp(value, "chunked") != 0)) ++*told;
    return MHD_YES;
}

/*
 * The body's length is told once, in a way that we know. Otherwise a proxy before us may read it differently, and what
 * is a body to it would be somebody's next request to us.
 */
static bool length_is_clear(const struct http_request *r) {
    unsigned told = 0;
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, count_length, &told);
    return told <= 1;
}

/* The header is complete. Sets r->refused when the request ends here. */
static void begin(struct http_request *r, const char *method) {
    const struct http_options *o = &r->server->options;
    r->begun = true;
    r->method = method_of(method);
    if (r->target.len > TARGET_MAX) {
        http_refuse(r, 414, "The request target is longer than 2048 bytes.");
        return;
    }
    size_t header = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
    if (header > HEADER_MAX) {
        http_refuse(r, 431, "The request header is longer than 4096 bytes.");
        return;
    }
    if (!length_is_clear(r)) {
        http_refuse(r, 400, "The length of the body is told more than once, or in an unknown transfer coding.");
        return;
    }
    uint64_t length;
    struct str given = http_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!given.data || !str_u64(given, &length)) return;
    if (length > o->max_body) {
        http_refuse(r, 413, "The request body is larger than allowed.");
        return;
    }
    buf_reserve(&r->body, (size_t)length);
}

static enum MHD_Result take_body(struct http_request *r, const char *bytes, size_t *len) {
    size_t got = *len;
    *len = 0;
    if (!r->refused && got > r->server->options.max_body - r->body.len) {
        http_refuse(r, 413, "The request body is larger than allowed.");
    }
    if (!r->refused) {
        buf_add(&r->body, bytes, got);
        return MHD_YES;
    }
    r->discarded += (unsigned)got;
    return r->discarded > DISCARD_MAX ? MHD_NO : MHD_YES; /* MHD_NO closes */
}

static enum MHD_Result access_handler(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                      const char *version, const char *upload, size_t *upload_len, void **context) {
    (void)cls;
    (void)connection;
    (void)url;
    (void)version;
    struct http_request *r = *context;
    if (!r->begun) {
        begin(r, method);
        return MHD_YES;
    }
    if (*upload_len) return take_body(r, upload, upload_len);
    if (r->refused || r->answered) return MHD_NO;
    http_request_hand_out(r);
    return MHD_YES;
}

/* Turns of the loop */

static void epoll_ready(struct loop_watch *w, uint32_t events) {
    (void)events;
    CONTAINER_OF(w, struct http_server, watch)->due = true;
}

static uint64_t turn(struct loop_hook *h) {
    struct http_server *s = CONTAINER_OF(h, struct http_server, hook);
    uint64_t now = loop_now_ms(s->loop);
    if (!s->due && now < s->next_run_ms) return s->next_run_ms == UINT64_MAX ? UINT64_MAX : s->next_run_ms - now;
    s->due = true;
    for (int i = 0; i < RUNS_A_TURN && s->due; i++) {
        s->due = false;
        MHD_run(s->daemon);
    }
    MHD_UNSIGNED_LONG_LONG wait;
    if (MHD_get_timeout(s->daemon, &wait) == MHD_NO) {
        s->next_run_ms = UINT64_MAX;
        wait = UINT64_MAX;
    } else {
        s->next_run_ms = now + wait;
    }
    return s->due ? 0 : wait;
}

/* Life of the server */

static int listen_on(const char *address, uint16_t port, char **ret_message) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &in.sin_addr) != 1) {
        *ret_message = mem_printf("cannot listen on \"%s\": not an IPv4 address", address);
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) &&
        !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) &&
        !setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) && /* inherited by what it accepts */
        !bind(fd, (struct sockaddr *)&in, sizeof in) && !listen(fd, BACKLOG)) {
        return fd;
    }
    *ret_message = mem_printf("cannot listen on %s:%u: %s", address, port, strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

static uint16_t port_of(int fd) {
    struct sockaddr_in in = {0};
    socklen_t len = sizeof in;
    getsockname(fd, (struct sockaddr *)&in, &len);
    return ntohs(in.sin_port);
}

static struct MHD_Daemon *start(struct http_server *s) {
    /* MHD's own timeout, of silence, is a little later than ours, so that ours can answer 408. */
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, accept_policy, s, access_handler, s, MHD_OPTION_LISTEN_SOCKET,
        s->listen_fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        s->options.max_connections + SPARE_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, s->options.idle_timeout_s + 1,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, s,
        MHD_OPTION_NOTIFY_COMPLETED, completed, s, MHD_OPTION_URI_LOG_CALLBACK, uri_seen, s, MHD_OPTION_END);
}

enum err http_server_new(struct loop *loop, const struct http_options *options, struct http_server **ret,
                         char **ret_message) {
    int fd = listen_on(options->address, options->port, ret_message);
    if (fd < 0) return ERR_IO;
    struct http_server *s = NEW(struct http_server);
    s->loop = loop;
    s->options = *options;
    s->listen_fd = fd;
    s->port = port_of(fd);
    for (int i = 0; i < HTTP_PHASES; i++) list_init(&s->phases[i]);
    list_init(&s->handed);
    list_init(&s->orphans);
    list_init(&s->spare);
    s->daemon = start(s);
    if (!s->daemon) {
        *ret_message =
            mem_printf("cannot start the HTTP server on %s:%u: %s", options->address, s->port, strerror(errno));
        close(fd);
        mem_free(s);
        return ERR_IO;
    }
    s->watch = (struct loop_watch){.fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
                                   .events = LOOP_READ,
                                   .ready = epoll_ready};
    loop_watch(loop, &s->watch);
    s->hook.run = turn;
    loop_hook_add_first(loop, &s->hook);
    s->due = true;
    *ret = s;
    return ERR_OK;
}

static void abandon_all(struct http_server *s) {
    for (struct list *n; (n = list_pop(&s->handed));) {
        struct http_request *r = CONTAINER_OF(n, struct http_request, link);
        s->in_flight--;
        if (r->suspended) MHD_resume_connection(r->connection);
        r->suspended = false;
        if (r->conn) r->conn->request = NULL;
        if (s->options.abandoned) {
            s->options.abandoned(s->options.ctx, r);
            r->answered = true; /* completed releases it */
        } else {
            /* completed must not see it: the handler's http_respond is what ends it. */
            r->conn = NULL;
            list_add_tail(&s->orphans, &r->link);
        }
    }
}

void http_server_free(struct http_server **sp) {
    struct http_server *s = *sp;
    if (!s) return;
    *sp = NULL;
    s->draining = true;
    abandon_all(s);
    loop_hook_del(&s->hook);
    loop_unwatch(&s->watch);
    MHD_stop_daemon(s->daemon);
    loop_timer_stop(&s->timer);
    for (struct list *n; (n = list_pop(&s->orphans));) CONTAINER_OF(n, struct http_request, link)->server = NULL;
    for (struct list *n; (n = list_pop(&s->spare));) http_request_free(CONTAINER_OF(n, struct http_request, link));
    mem_free(s);
}

uint16_t http_server_port(const struct http_server *s) {
    return s->port;
}

void http_server_drain(struct http_server *s) {
    if (s->draining) return;
    s->draining = true;
    int fd = MHD_quiesce_daemon(s->daemon);
    if (fd >= 0) close(fd);
    s->listen_fd = -1;
    /* What waits for a next request gets none: our clients retry on a fresh connection, elsewhere. */
    for (struct list *n = s->phases[HTTP_PHASE_KEPT].next; n != &s->phases[HTTP_PHASE_KEPT]; n = n->next) {
        shutdown(CONTAINER_OF(n, struct http_conn, link)->fd, SHUT_RD);
    }
}

unsigned http_server_connections(const struct http_server *s) {
    return s->connections;
}

unsigned http_server_in_flight(const struct http_server *s) {
    return s->in_flight;
}
