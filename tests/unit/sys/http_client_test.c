/*
 * The HTTP client: its parser on its own, against our server in the same loop, and against a scripted peer that closes,
 * garbles and stalls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/sys/http.h"
#include "common/sys/http_client.h"
#include "common/sys/http_parser.h"
#include "tests/unit/sys/pump.h"

/* The parser */

struct parser_case {
    const char *input;
    bool head, ended;
    enum http_parse result;
    unsigned status;
    const char *body;
    bool keep_alive, surplus;
};

static const struct parser_case parser_cases[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, false, HTTP_PARSE_DONE, 200, "hello", true, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloX", false, false, HTTP_PARSE_DONE, 200, "hello", true, true},
    {"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", false, false, HTTP_PARSE_DONE, 200, "", true, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", false, false, HTTP_PARSE_MORE, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", false, true, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, false, HTTP_PARSE_DONE, 200, "", true, false},
    {"HTTP/1.1 204 No Content\r\n\r\n", false, false, HTTP_PARSE_DONE, 204, "", true, false},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, false, HTTP_PARSE_DONE, 304, "", true, false},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", false, true, HTTP_PARSE_DONE, 200, "to the end", false,
     false},
    {"HTTP/1.1 200 OK\r\n\r\nto the", false, false, HTTP_PARSE_MORE, 0, NULL, false, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", false, false, HTTP_PARSE_DONE, 200, "a", false, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\na", false, false, HTTP_PARSE_DONE, 200, "a",
     true, false},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\na", false, false, HTTP_PARSE_DONE,
     201, "a", true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=1\r\n world\r\n0\r\nT: 1\r\n\r\n", false,
     false, HTTP_PARSE_DONE, 200, "hello world", true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", false, false,
     HTTP_PARSE_DONE, 200, "", false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", false, false, HTTP_PARSE_MORE, 0, NULL, false,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXY", false, false, HTTP_PARSE_BAD, 0, NULL, false,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", false, false, HTTP_PARSE_BAD, 0,
     NULL, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, false,
     HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", false, false, HTTP_PARSE_BAD, 0, NULL,
     false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 101 Switching\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 200 OK\r\nA: b\r\n folded: x\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/2 200 OK\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"HTTP/1.1 99 OK\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"SSH-2.0-x\r\n\r\n", false, false, HTTP_PARSE_BAD, 0, NULL, false, false},
    {"", false, true, HTTP_PARSE_BAD, 0, NULL, false, false},
};

static void check_parse(const struct parser_case *c, size_t piece) {
    struct http_parser p;
    http_parser_init(&p);
    http_parser_begin(&p, c->head);
    size_t len = strlen(c->input);
    enum http_parse result = HTTP_PARSE_MORE;
    for (size_t at = 0; at < len; at += piece) {
        buf_add(&p.raw, c->input + at, piece < len - at ? piece : len - at);
        result = http_parser_run(&p, false);
        if (result == HTTP_PARSE_DONE && at + piece < len) break; /* the rest is surplus */
    }
    if (c->ended) result = http_parser_run(&p, true);
    if (result != c->result) print_message("pieces of %zu: %s\n", piece, c->input);
    assert_int_equal(result, c->result);
    if (result == HTTP_PARSE_DONE) {
        assert_int_equal(p.status, c->status);
        assert_true(str_eq_c(http_parser_body(&p), c->body));
        assert_int_equal(p.keep_alive, c->keep_alive);
        if (piece >= len) assert_int_equal(http_parser_surplus(&p), c->surplus);
    }
    http_parser_fini(&p);
}

static void parser_tells_whole_from_cut_and_bad(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parser_cases); i++) {
        check_parse(&parser_cases[i], 10000);
        check_parse(&parser_cases[i], 1);
        check_parse(&parser_cases[i], 7);
    }
}

static void parser_is_bounded(void **state) {
    (void)state;
    struct http_parser p;
    http_parser_init(&p);
    http_parser_begin(&p, false);
    buf_add_c(&p.raw, "HTTP/1.1 200 OK\r\nX: ");
    while (p.raw.len <= HTTP_PARSER_HEADER_MAX) buf_add_char(&p.raw, 'x');
    assert_int_equal(http_parser_run(&p, false), HTTP_PARSE_BAD);
    buf_clear(&p.raw);
    p.at = 0;
    http_parser_begin(&p, false);
    buf_add_c(&p.raw, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    enum http_parse result = HTTP_PARSE_MORE;
    size_t most = 0;
    for (int i = 0; i < 300000 && result == HTTP_PARSE_MORE; i++) { /* 1-byte chunks: six bytes on the wire for one */
        buf_add_c(&p.raw, "1\r\na\r\n");
        if (i % 1000 == 0) result = http_parser_run(&p, false);
        if (p.raw.len > most) most = p.raw.len;
    }
    assert_int_equal(result, HTTP_PARSE_MORE);
    assert_true(most < 200000); /* what was taken does not pile up */
    CLEANUP(buf_fini) struct buf big = BUF_INIT;
    buf_addf(&big, "%x\r\n", 1 << 20);
    for (int i = 0; i < 1 << 20; i++) buf_add_char(&big, 'b');
    buf_add_c(&big, "\r\n");
    int megabytes = 0;
    for (; result == HTTP_PARSE_MORE && megabytes < 20; megabytes++) {
        buf_add_str(&p.raw, buf_str(&big));
        result = http_parser_run(&p, false);
    }
    assert_int_equal(result, HTTP_PARSE_BAD);
    assert_int_equal(megabytes, 16);
    http_parser_fini(&p);
}

/* Against our server */

struct outcome {
    int done;
    enum err err;
    unsigned status;
    struct buf body;
    char type[64];
};

struct world {
    struct loop *loop;
    struct http_server *server;
    struct http_client *client;
    struct outcome outcomes[64];
    unsigned most_connections;
    int handled;
    struct http_request *held;
    /* the scripted peer */
    struct loop_watch listener;
    struct loop_watch peer;
    const char *const *script; /* what to answer; "" closes, "~" stalls, leading "!" closes after */
    int step, accepted;
};

static void handle(void *ctx, struct http_request *r) {
    struct world *w = ctx;
    w->handled++;
    unsigned n = http_server_connections(w->server);
    if (n > w->most_connections) w->most_connections = n;
    if (str_eq_c(http_path(r), "/hold")) {
        w->held = r;
        return;
    }
    struct buf b = BUF_INIT;
    buf_add_str(&b, http_path(r));
    buf_add_char(&b, ' ');
    buf_add_str(&b, http_header(r, "X-Test"));
    buf_add_char(&b, ' ');
    buf_add_str(&b, http_body(r));
    http_respond(r, 200, "text/plain", &b);
}

static int setup(void **state) {
    struct world *w = NEW(struct world);
    w->loop = loop_new();
    struct http_options o = {.address = "127.0.0.1",
                             .max_connections = 64,
                             .idle_timeout_s = 2,
                             .max_body = 1 << 24,
                             .handle = handle,
                             .ctx = w};
    char *message;
    assert_int_equal(http_server_new(w->loop, &o, &w->server, &message), ERR_OK);
    *state = w;
    return 0;
}

static void connect_to(struct world *w, uint16_t port, unsigned connections, unsigned waiting) {
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    assert_int_equal(http_client_new(w->loop, url, connections, waiting, &w->client), ERR_OK);
}

static int teardown(void **state) {
    struct world *w = *state;
    http_client_free(&w->client);
    if (w->held) {
        struct buf b = BUF_INIT;
        http_respond(w->held, 200, NULL, &b);
    }
    if (w->listener.loop) {
        loop_unwatch(&w->listener);
        close(w->listener.fd);
    }
    if (w->peer.loop) {
        loop_unwatch(&w->peer);
        close(w->peer.fd);
    }
    http_server_free(&w->server);
    loop_free(&w->loop);
    for (size_t i = 0; i < ARRAY_LEN(w->outcomes); i++) buf_fini(&w->outcomes[i].body);
    mem_free(w);
    return 0;
}

static void note(void *ctx, enum err err, const struct http_reply *reply) {
    struct outcome *o = ctx;
    o->done++;
    o->err = err;
    assert_int_equal(reply != NULL, err == ERR_OK);
    if (!reply) return;
    o->status = reply->status;
    buf_add_str(&o->body, reply->body);
    struct str type = http_reply_header(reply, "content-TYPE");
    snprintf(o->type, sizeof o->type, "%.*s", (int)type.len, type.data ? type.data : "");
}

static enum err send_one(struct world *w, int i, const char *method, const char *target, const char *body,
                         uint64_t ms) {
    return http_client_send(w->client, method, target, STR("X-Test: yes\r\n"), str_c(body), ms, note, &w->outcomes[i]);
}

static void wait_for(struct world *w, int i) {
    uint64_t end = clock_mono_ms() + 3000;
    while (!w->outcomes[i].done && clock_mono_ms() < end) pump(w->loop, 2);
    assert_int_equal(w->outcomes[i].done, 1);
}

static void requests_share_kept_connections(void **state) {
    struct world *w = *state;
    connect_to(w, http_server_port(w->server), 2, 100);
    for (int i = 0; i < 50; i++) {
        char target[32], body[32];
        snprintf(target, sizeof target, "/t%d", i);
        snprintf(body, sizeof body, "body %d", i);
        assert_int_equal(send_one(w, i, i % 2 ? "POST" : "GET", target, i % 2 ? body : "", 3000), ERR_OK);
        assert_int_equal(w->outcomes[i].done, 0);
    }
    for (int i = 0; i < 50; i++) {
        wait_for(w, i);
        char want[64];
        if (i % 2) {
            snprintf(want, sizeof want, "/t%d yes body %d", i, i);
        } else {
            snprintf(want, sizeof want, "/t%d yes ", i);
        }
        assert_int_equal(w->outcomes[i].err, ERR_OK);
        assert_int_equal(w->outcomes[i].status, 200);
        assert_string_equal(w->outcomes[i].body.data, want);
        assert_string_equal(w->outcomes[i].type, "text/plain");
    }
    assert_int_equal(w->handled, 50);
    assert_int_equal(w->most_connections, 2);
    assert_int_equal(send_one(w, 50, "HEAD", "/h", "", 3000), ERR_OK);
    wait_for(w, 50);
    assert_int_equal(w->outcomes[50].status, 200);
    assert_int_equal(w->outcomes[50].body.len, 0);
}

static void large_bodies_both_ways(void **state) {
    struct world *w = *state;
    connect_to(w, http_server_port(w->server), 1, 1);
    CLEANUP(buf_fini) struct buf body = BUF_INIT;
    for (int i = 0; i < 12000000; i++) buf_add_char(&body, (char)('a' + i % 26));
    assert_int_equal(
        http_client_send(w->client, "POST", "/big", str_of("", 0), buf_str(&body), 3000, note, &w->outcomes[0]),
        ERR_OK);
    wait_for(w, 0);
    assert_int_equal(w->outcomes[0].err, ERR_OK);
    assert_int_equal(w->outcomes[0].body.len, 12000000 + 6);
    assert_memory_equal(w->outcomes[0].body.data + 6, body.data, body.len);
}

static void bad_arguments(void **state) {
    struct world *w = *state;
    static const char *const urls[] = {
        "https://127.0.0.1",     "127.0.0.1:80", "http://example.test", "http://127.0.0.1:0", "http://127.0.0.1:99999",
        "http://127.0.0.1/path", "http://"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        assert_int_equal(http_client_new(w->loop, urls[i], 1, 1, &w->client), ERR_INVALID);
    }
    connect_to(w, http_server_port(w->server), 1, 1);
    assert_int_equal(send_one(w, 0, "GET /", "/", "", 100), ERR_INVALID);
    assert_int_equal(send_one(w, 0, "GET", "/ HTTP/1.1\r\nX: y", "", 100), ERR_INVALID);
    assert_int_equal(send_one(w, 0, "GET", "x", "", 100), ERR_INVALID);
    assert_int_equal(http_client_send(w->client, "GET", "/", STR("X: y"), str_of("", 0), 100, note, &w->outcomes[0]),
                     ERR_INVALID);
    pump(w->loop, 5);
    assert_int_equal(w->outcomes[0].done, 0);
}

static void the_queue_is_bounded(void **state) {
    struct world *w = *state;
    connect_to(w, http_server_port(w->server), 2, 3);
    for (int i = 0; i < 5; i++) assert_int_equal(send_one(w, i, "GET", "/a", "", 3000), ERR_OK);
    assert_int_equal(send_one(w, 5, "GET", "/a", "", 3000), ERR_BUSY);
    for (int i = 0; i < 5; i++) wait_for(w, i);
    assert_int_equal(w->outcomes[5].done, 0);
    assert_int_equal(send_one(w, 5, "GET", "/a", "", 3000), ERR_OK);
    wait_for(w, 5);
}

static void time_runs_out(void **state) {
    struct world *w = *state;
    connect_to(w, http_server_port(w->server), 1, 5);
    assert_int_equal(send_one(w, 0, "GET", "/hold", "", 30), ERR_OK);
    assert_int_equal(send_one(w, 1, "GET", "/a", "", 10), ERR_OK);
    assert_int_equal(send_one(w, 2, "GET", "/a", "", 3000), ERR_OK);
    wait_for(w, 1);
    assert_int_equal(w->outcomes[1].err, ERR_REFUSED); /* never sent */
    wait_for(w, 0);
    assert_int_equal(w->outcomes[0].err, ERR_TIMEOUT);
    wait_for(w, 2); /* on a new connection */
    assert_int_equal(w->outcomes[2].err, ERR_OK);
}

static void nobody_listens(void **state) {
    struct world *w = *state;
    uint16_t port = http_server_port(w->server);
    http_server_free(&w->server);
    connect_to(w, port, 1, 5);
    for (int i = 0; i < 4; i++) assert_int_equal(send_one(w, i, "POST", "/", "x", 3000), ERR_OK);
    assert_int_equal(w->outcomes[0].done, 0);
    for (int i = 0; i < 4; i++) {
        wait_for(w, i);
        assert_int_equal(w->outcomes[i].err, ERR_REFUSED);
    }
}

static void free_cancels(void **state) {
    struct world *w = *state;
    connect_to(w, http_server_port(w->server), 1, 5);
    assert_int_equal(send_one(w, 0, "GET", "/hold", "", 3000), ERR_OK);
    assert_int_equal(send_one(w, 1, "GET", "/a", "", 3000), ERR_OK);
    pump(w->loop, 10);
    http_client_free(&w->client);
    assert_int_equal(w->outcomes[0].err, ERR_CANCELED);
    assert_int_equal(w->outcomes[1].err, ERR_CANCELED);
}

static void free_from_done(void *ctx, enum err err, const struct http_reply *reply) {
    struct world *w = ctx;
    if (!w->client) return; /* those that the free below cancels */
    assert_int_equal(err, ERR_OK);
    http_client_free(&w->client);
    buf_add_str(&w->outcomes[0].body, reply->body); /* still valid */
    w->outcomes[0].done++;
}

static void may_be_freed_by_its_callback(void **state) {
    struct world *w = *state;
    connect_to(w, http_server_port(w->server), 2, 5);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            http_client_send(w->client, "GET", "/x", str_of("", 0), str_of("", 0), 3000, free_from_done, w), ERR_OK);
    }
    wait_for(w, 0);
    assert_string_equal(w->outcomes[0].body.data, "/x  ");
    pump(w->loop, 10);
}

/* Against a peer that follows a script: one answer a request, one connection at a time. */

static void peer_close(struct world *w) {
    loop_unwatch(&w->peer);
    close(w->peer.fd);
}

static void peer_ready(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct world *w = CONTAINER_OF(watch, struct world, peer);
    char bytes[4096];
    if (recv(watch->fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0) {
        peer_close(w);
        return;
    }
    const char *answer = w->script[w->step++];
    bool end = *answer == '!' || !*answer;
    if (*answer == '~') return;
    say(watch->fd, *answer == '!' ? answer + 1 : answer);
    if (end) peer_close(w);
}

static void peer_accept(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct world *w = CONTAINER_OF(watch, struct world, listener);
    if (w->peer.loop) peer_close(w);
    w->accepted++;
    w->peer = (struct loop_watch){.fd = accept(watch->fd, NULL, NULL), .events = LOOP_READ, .ready = peer_ready};
    loop_watch(w->loop, &w->peer);
}

static void play(struct world *w, const char *const *script) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 16), 0);
    socklen_t len = sizeof in;
    getsockname(fd, (struct sockaddr *)&in, &len);
    w->listener = (struct loop_watch){.fd = fd, .events = LOOP_READ, .ready = peer_accept};
    loop_watch(w->loop, &w->listener);
    w->script = script;
    connect_to(w, ntohs(in.sin_port), 1, 5);
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void stale_connection_is_retried_once(void **state) {
    struct world *w = *state;
    static const char *const script[] = {OK_ANSWER, "", OK_ANSWER, "", OK_ANSWER, "", "", NULL};
    play(w, script);
    assert_int_equal(send_one(w, 0, "GET", "/", "", 3000), ERR_OK);
    wait_for(w, 0);
    assert_int_equal(w->outcomes[0].err, ERR_OK);
    assert_int_equal(w->accepted, 1);
    assert_int_equal(send_one(w, 1, "GET", "/", "", 3000), ERR_OK);
    wait_for(w, 1);
    assert_int_equal(w->outcomes[1].err, ERR_OK);
    assert_int_equal(w->accepted, 2);
    assert_int_equal(w->step, 3);
    assert_int_equal(send_one(w, 2, "POST", "/", "x", 3000), ERR_OK); /* not idempotent: uncertain */
    wait_for(w, 2);
    assert_int_equal(w->outcomes[2].err, ERR_LOST);
    assert_int_equal(w->step, 4);
    assert_int_equal(send_one(w, 3, "GET", "/", "", 3000), ERR_OK);
    wait_for(w, 3);
    assert_int_equal(w->outcomes[3].err, ERR_OK);
    assert_int_equal(send_one(w, 4, "DELETE", "/", "", 3000), ERR_OK); /* the fresh one dies too: once only */
    wait_for(w, 4);
    assert_int_equal(w->outcomes[4].err, ERR_LOST);
    assert_int_equal(w->step, 7);
}

static void fresh_connection_that_dies_is_not_retried(void **state) {
    struct world *w = *state;
    static const char *const script[] = {"", OK_ANSWER, NULL};
    play(w, script);
    assert_int_equal(send_one(w, 0, "GET", "/", "", 3000), ERR_OK);
    wait_for(w, 0);
    assert_int_equal(w->outcomes[0].err, ERR_LOST);
    assert_int_equal(w->step, 1);
}

static void idle_connection_closed_by_the_server(void **state) {
    struct world *w = *state;
    static const char *const script[] = {"!" OK_ANSWER, OK_ANSWER, NULL};
    play(w, script);
    assert_int_equal(send_one(w, 0, "POST", "/", "x", 3000), ERR_OK);
    wait_for(w, 0);
    assert_int_equal(w->outcomes[0].err, ERR_OK);
    pump(w->loop, 10); /* the end of the stream is seen */
    assert_int_equal(send_one(w, 1, "POST", "/", "x", 3000), ERR_OK);
    wait_for(w, 1);
    assert_int_equal(w->outcomes[1].err, ERR_OK);
    assert_int_equal(w->accepted, 2);
}

static void broken_answers(void **state) {
    struct world *w = *state;
    static const char *const script[] = {"garbage\r\n\r\n",
                                         "!HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                                         "!HTTP/1.1 200 OK\r\n\r\nto the end",
                                         OK_ANSWER "surplus",
                                         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                                         "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
                                         "~",
                                         NULL};
    play(w, script);
    static const enum err want[] = {ERR_PROTOCOL, ERR_LOST, ERR_OK, ERR_OK, ERR_OK, ERR_OK, ERR_TIMEOUT};
    static const char *const bodies[] = {NULL, NULL, "to the end", "ok", "ok", "ok", NULL};
    for (int i = 0; i < 7; i++) {
        assert_int_equal(send_one(w, i, "GET", "/", "", i == 6 ? 30 : 3000), ERR_OK);
        wait_for(w, i);
        assert_int_equal(w->outcomes[i].err, want[i]);
        if (bodies[i]) assert_string_equal(w->outcomes[i].body.data, bodies[i]);
    }
    assert_int_equal(w->accepted, 6); /* all but the fifth and the last ended their connections */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parser_tells_whole_from_cut_and_bad),
        cmocka_unit_test(parser_is_bounded),
        TEST(requests_share_kept_connections),
        TEST(large_bodies_both_ways),
        TEST(bad_arguments),
        TEST(the_queue_is_bounded),
        TEST(time_runs_out),
        TEST(nobody_listens),
        TEST(free_cancels),
        TEST(may_be_freed_by_its_callback),
        TEST(stale_connection_is_retried_once),
        TEST(fresh_connection_that_dies_is_not_retried),
        TEST(idle_connection_closed_by_the_server),
        TEST(broken_answers),
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
