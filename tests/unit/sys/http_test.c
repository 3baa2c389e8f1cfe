/* The HTTP server over real sockets: what handlers see, and what clients that misbehave get. Server and clients share
 * one thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/sys/http.h"
#include "tests/unit/sys/pump.h"

enum { HELD_MAX = 8, MAX_BODY = 20000 };

struct world {
    struct loop *loop;
    struct http_server *server;
    struct http_options options;
    struct http_request *held[HELD_MAX];
    int held_count, handled, abandoned, problems;
    unsigned last_problem;
};

static void list_param(void *ctx, const char *name, const char *value) {
    buf_addf(ctx, "%s=%s;", name, value);
}

static const char *method_name(enum http_method m) {
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"};
    return names[m];
}

/* "GET /echo [a=1;b=2;] token=x body=..." */
static void echo(struct http_request *r) {
    struct buf b = BUF_INIT;
    buf_addf(&b, "%s ", method_name(http_method(r)));
    buf_add_str(&b, http_path(r));
    buf_add_c(&b, " [");
    http_query_each(r, list_param, &b);
    buf_add_c(&b, "]");
    struct str token = http_header(r, "authorization");
    if (token.data) {
        buf_add_c(&b, " token=");
        buf_add_str(&b, token);
    }
    buf_addf(&b, " body=%zu:", http_body(r).len);
    buf_add_str(&b, http_body(r));
    http_add_header(r, "X-First", "1");
    http_add_header(r, "X-Second", "2");
    http_respond(r, 200, "text/plain", &b);
    assert_int_equal(b.len, 0);
}

static void handle(void *ctx, struct http_request *r) {
    struct world *w = ctx;
    w->handled++;
    assert_true(http_started_ns(r) > 0 && http_started_ns(r) <= clock_mono_ns());
    if (str_starts(http_path(r), "/hold")) {
        http_set_data(r, w);
        w->held[w->held_count++] = r;
        return;
    }
    if (str_eq_c(http_path(r), "/none")) {
        struct buf b = BUF_INIT;
        http_respond(r, 204, NULL, &b);
        return;
    }
    echo(r);
}

static void abandoned(void *ctx, struct http_request *r) {
    struct world *w = ctx;
    assert_ptr_equal(http_data(r), w);
    w->abandoned++;
}

static void problem(void *ctx, unsigned status, const char *detail, struct buf *to, const char **ret_content_type) {
    struct world *w = ctx;
    w->problems++;
    w->last_problem = status;
    buf_addf(to, "{\"status\":%u,\"detail\":\"%s\"}", status, detail);
    *ret_content_type = "application/problem+json";
}

static void answer_held(struct world *w, int i) {
    struct buf b = BUF_INIT;
    buf_add_c(&b, "held ");
    buf_add_str(&b, http_path(w->held[i]));
    http_respond(w->held[i], 200, "text/plain", &b);
}

static void start(struct world *w) {
    char *message = NULL;
    assert_int_equal(http_server_new(w->loop, &w->options, &w->server, &message), ERR_OK);
    assert_null(message);
}

static int setup(void **state) {
    struct world *w = NEW(struct world);
    w->loop = loop_new();
    w->options = (struct http_options){.address = "127.0.0.1",
                                       .max_connections = 8,
                                       .idle_timeout_s = 1,
                                       .max_body = MAX_BODY,
                                       .handle = handle,
                                       .abandoned = abandoned,
                                       .problem = problem,
                                       .ctx = w};
    start(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    http_server_free(&w->server);
    loop_free(&w->loop);
    mem_free(w);
    return 0;
}

static int dial_server(struct world *w) {
    int fd = dial(http_server_port(w->server));
    assert_true(fd >= 0);
    return fd;
}

/* One exchange on a connection of its own; until NULL: until the server closes. */
static struct buf ask(struct world *w, const char *request, const char *until) {
    int fd = dial_server(w);
    struct buf b = BUF_INIT;
    say(fd, request);
    bool heard = hear(w->loop, fd, &b, until, 4000);
    if (!heard) print_message("heard only: %s\n", b.data ? b.data : "");
    assert_true(heard);
    close(fd);
    return b;
}

static void has(const struct buf *b, const char *text) {
    if (b->data && strstr(b->data, text)) return;
    print_message("not in the answer: %s\n--\n%s\n", text, b->data ? b->data : "");
    fail();
}

static int count(const char *in, const char *what) {
    int n = 0;
    for (const char *p = in; p && (p = strstr(p, what)); p += strlen(what)) n++;
    return n;
}

/* What handlers see */

static void query_is_decoded(void **state) {
    CLEANUP(buf_fini)
    struct buf b = ask(*state,
                       "GET /a%20b?x=a%20b+c&bad=%zz%&nul=%00&flag&&=e&u=%c3%a4&q=1=2 HTTP/1.1\r\nHost: h\r\n"
                       "Authorization: Bearer t\r\n\r\n",
                       "body=");
    has(&b, "GET /a%20b [x=a b c;bad=%zz%;nul=%00;flag=;=e;u=\xc3\xa4;q=1=2;] token=Bearer t body=0:");
    has(&b, "HTTP/1.1 200 OK\r\n");
    has(&b, "Content-Type: text/plain\r\n");
    has(&b, "X-First: 1\r\n");
    has(&b, "X-Second: 2\r\n");
    has(&b, "Date: ");
    assert_null(strstr(b.data, "Connection: close"));
}

static void bodies_arrive_whole(void **state) {
    struct world *w = *state;
    CLEANUP(buf_fini) struct buf request = BUF_INIT;
    buf_addf(&request, "PUT /p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", MAX_BODY);
    for (int i = 0; i < MAX_BODY - 3; i++) buf_add_char(&request, 'z');
    buf_add_c(&request, "END");
    CLEANUP(buf_fini) struct buf b = ask(w, request.data, "END");
    has(&b, "PUT /p [] body=20000:zzz");
    CLEANUP(buf_fini)
    struct buf c = ask(w,
                       "PATCH /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
                       "world");
    has(&c, "PATCH /p [] body=11:hello world");
}

static void expect_continue(void **state) {
    struct world *w = *state;
    int fd = dial_server(w);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    say(fd, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_true(hear(w->loop, fd, &b, "100 Continue\r\n\r\n", 1000));
    assert_int_equal(w->handled, 0);
    say(fd, "abc");
    assert_true(hear(w->loop, fd, &b, "body=3:abc", 1000));
    close(fd);
}

static void head_has_no_body(void **state) {
    CLEANUP(buf_fini)
    struct buf b = ask(*state, "HEAD /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", NULL);
    has(&b, "HTTP/1.1 200 OK\r\n");
    has(&b, "Content-Length: 18\r\n"); /* of "HEAD /p [] body=0:" */
    assert_null(strstr(b.data, "body="));
}

static void no_content(void **state) {
    CLEANUP(buf_fini)
    struct buf b = ask(*state, "DELETE /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", NULL);
    has(&b, "HTTP/1.1 204 No Content\r\n");
    assert_null(strstr(b.data, "Content-Length"));
    assert_null(strstr(b.data, "Content-Type"));
}

static void large_answer(void **state) {
    struct world *w = *state;
    int fd = dial_server(w);
    say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    pump(w->loop, 20);
    assert_int_equal(w->held_count, 1);
    struct buf big = BUF_INIT;
    for (int i = 0; i < 8000000; i++) buf_add_char(&big, (char)('a' + i % 26));
    http_respond(w->held[0], 200, "text/plain", &big);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    assert_true(hear(w->loop, fd, &b, NULL, 4000));
    has(&b, "Content-Length: 8000000\r\n");
    assert_int_equal(b.len - (size_t)(strstr(b.data, "\r\n\r\n") + 4 - b.data), 8000000);
    close(fd);
}

/* Later answers */

static void later_and_pipelined(void **state) {
    struct world *w = *state;
    int fd = dial_server(w);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    say(fd, "GET /hold1 HTTP/1.1\r\nHost: h\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\n\r\nGET /hold2 HTTP/1.1\r\nHost: "
            "h\r\n\r\n");
    pump(w->loop, 20);
    assert_int_equal(w->held_count, 1); /* one at a time, in order */
    assert_int_equal(http_server_in_flight(w->server), 1);
    assert_false(listen_in(fd, &b) != HEARD_SOME || b.len);
    answer_held(w, 0);
    assert_true(hear(w->loop, fd, &b, "GET /now", 1000));
    assert_true(strstr(b.data, "held /hold1") < strstr(b.data, "GET /now"));
    pump(w->loop, 10);
    assert_int_equal(w->held_count, 2);
    answer_held(w, 1);
    assert_true(hear(w->loop, fd, &b, "held /hold2", 1000));
    assert_int_equal(http_server_in_flight(w->server), 0);
    assert_int_equal(count(b.data, "HTTP/1.1 200"), 3);
    close(fd);
}

static void client_leaves_while_held(void **state) {
    struct world *w = *state;
    int fd = dial_server(w);
    say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    pump(w->loop, 10);
    assert_int_equal(w->held_count, 1);
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd); /* a reset */
    pump(w->loop, 10);
    answer_held(w, 0);
    pump(w->loop, 20);
    assert_int_equal(w->abandoned, 0);
    assert_int_equal(http_server_in_flight(w->server), 0);
    assert_int_equal(http_server_connections(w->server), 0);
}

static void half_closed_client_gets_its_answer(void **state) {
    struct world *w = *state;
    int fd = dial_server(w);
    say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(fd, SHUT_WR);
    pump(w->loop, 20);
    assert_int_equal(w->held_count, 1);
    answer_held(w, 0);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    assert_true(hear(w->loop, fd, &b, NULL, 1000));
    has(&b, "held /hold");
    close(fd);
    int half = dial_server(w);
    say(half, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    shutdown(half, SHUT_WR);
    buf_clear(&b);
    assert_true(hear(w->loop, half, &b, NULL, 2000)); /* cut at the deadline at the latest */
    assert_int_equal(w->handled, 1);
    close(half);
}

static void server_stop_abandons(void **state) {
    struct world *w = *state;
    int fd = dial_server(w), other = dial_server(w);
    say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    say(other, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    pump(w->loop, 20);
    assert_int_equal(w->held_count, 1);
    http_server_free(&w->server);
    assert_null(w->server);
    assert_int_equal(w->abandoned, 1);
    close(fd);
    close(other);
}

static void answer_after_the_server(void **state) {
    struct world *w = *state;
    http_server_free(&w->server);
    w->options.abandoned = NULL;
    start(w);
    int fd = dial_server(w);
    say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    pump(w->loop, 20);
    assert_int_equal(w->held_count, 1);
    http_server_free(&w->server);
    answer_held(w, 0);
    assert_int_equal(w->abandoned, 0);
    close(fd);
}

/* Limits */

static void too_large_bodies(void **state) {
    struct world *w = *state;
    CLEANUP(buf_fini)
    struct buf b = ask(w, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 20001\r\n\r\n", "}");
    has(&b, "HTTP/1.1 413 Content Too Large\r\n");
    has(&b, "Content-Type: application/problem+json\r\n");
    has(&b, "Connection: close\r\n");
    has(&b, "{\"status\":413");
    CLEANUP(buf_fini) struct buf request = BUF_INIT;
    buf_add_c(&request, "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; i++) buf_addf(&request, "64\r\n%0100d\r\n", i);
    buf_add_c(&request, "0\r\n\r\n");
    CLEANUP(buf_fini) struct buf c = ask(w, request.data, NULL);
    has(&c, "HTTP/1.1 413 ");
    assert_int_equal(count(c.data, "HTTP/1.1"), 1);
    assert_int_equal(w->handled, 0);
    assert_int_equal(w->problems, 2);
}

static void too_large_headers(void **state) {
    struct world *w = *state;
    CLEANUP(buf_fini) struct buf request = BUF_INIT;
    buf_addf(&request, "GET /%02100d HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    CLEANUP(buf_fini) struct buf b = ask(w, request.data, NULL);
    has(&b, "HTTP/1.1 414 ");
    has(&b, "{\"status\":414");
    buf_clear(&request);
    buf_addf(&request, "GET / HTTP/1.1\r\nHost: h\r\nX-Big: %04100d\r\n\r\n", 0);
    CLEANUP(buf_fini) struct buf c = ask(w, request.data, NULL);
    has(&c, "HTTP/1.1 431 ");
    has(&c, "{\"status\":431");
    buf_clear(&request);
    buf_addf(&request, "GET / HTTP/1.1\r\nHost: h\r\nX-Big: %040000d\r\n\r\n", 0);
    CLEANUP(buf_fini) struct buf d = ask(w, request.data, "\r\n\r\n"); /* the library's own page */
    has(&d, "HTTP/1.1 431 ");
    assert_int_equal(w->handled, 0);
    /* The most that is allowed does fit, answer header included. */
    buf_clear(&request);
    buf_addf(&request, "GET /%01900d HTTP/1.1\r\nHost: h\r\nX-Big: %02000d\r\n\r\n", 0, 0);
    CLEANUP(buf_fini) struct buf e = ask(w, request.data, "body=0");
    has(&e, "HTTP/1.1 200 OK\r\n");
}

static void garbage_is_refused(void **state) {
    static const char *const requests[] = {
        "\x16\x03\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", /* no Host */
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\r\nHost h\r\n\r\n",
    };
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        CLEANUP(buf_fini) struct buf b = ask(w, requests[i], NULL);
        if (b.len) assert_true(str_starts(buf_str(&b), "HTTP/1.1 4") || str_starts(buf_str(&b), "HTTP/1.1 5"));
    }
    assert_int_equal(w->handled, 0);
    pump(w->loop, 5);
    assert_int_equal(http_server_connections(w->server), 0);
}

/* Four clients at once: trickled header, trickled body, silence, trickled request line; all cut in time, the first two
 * told why. */
static void slow_clients_are_cut(void **state) {
    struct world *w = *state;
    int fds[4];
    struct buf heard[4] = {0};
    bool closed[4] = {false};
    for (int i = 0; i < 4; i++) fds[i] = dial_server(w);
    say(fds[0], "GET / HTTP/1.1\r\nHost: h\r\n");
    say(fds[1], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    uint64_t begin = clock_mono_ms();
    int open = 4;
    while (open > 0 && clock_mono_ms() < begin + 3500) {
        if (!closed[0]) say(fds[0], "X");
        if (!closed[1]) say(fds[1], "x");
        if (!closed[3]) say(fds[3], "G");
        pump(w->loop, 50);
        for (int i = 0; i < 4; i++) {
            if (closed[i] || listen_in(fds[i], &heard[i]) == HEARD_SOME) continue;
            closed[i] = true;
            open--;
        }
    }
    assert_int_equal(open, 0);
    assert_true(clock_mono_ms() - begin < 3000);
    assert_true(clock_mono_ms() - begin >= 1000);
    has(&heard[0], "HTTP/1.1 408 Request Timeout\r\n");
    has(&heard[1], "{\"status\":408");
    assert_int_equal(heard[2].len, 0);
    assert_int_equal(heard[3].len, 0);
    assert_int_equal(w->handled, 0);
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
        buf_fini(&heard[i]);
    }
    pump(w->loop, 20);
    assert_int_equal(http_server_connections(w->server), 0);
}

static void held_requests_have_no_deadline_here(void **state) {
    struct world *w = *state;
    int fd = dial_server(w);
    say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    pump(w->loop, 2300);
    assert_int_equal(w->held_count, 1);
    answer_held(w, 0);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    assert_true(hear(w->loop, fd, &b, "held /hold", 1000));
    close(fd);
}

static void connections_are_limited(void **state) {
    struct world *w = *state;
    int fds[10];
    for (int i = 0; i < 10; i++) fds[i] = dial_server(w);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    assert_true(hear(w->loop, fds[8], &b, NULL, 1000));
    assert_true(hear(w->loop, fds[9], &b, NULL, 1000));
    assert_int_equal(b.len, 0);
    assert_int_equal(http_server_connections(w->server), 8);
    say(fds[7], "GET /p HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(hear(w->loop, fds[7], &b, "body=0", 1000));
    close(fds[0]);
    pump(w->loop, 10);
    int again = dial_server(w);
    say(again, "GET /p HTTP/1.1\r\nHost: h\r\n\r\n");
    buf_clear(&b);
    assert_true(hear(w->loop, again, &b, "body=0", 1000));
    close(again);
    for (int i = 1; i < 10; i++) close(fds[i]);
}

static void drain_lets_what_is_in_flight_end(void **state) {
    struct world *w = *state;
    int held = dial_server(w), kept = dial_server(w);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    say(held, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    say(kept, "GET /p HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(hear(w->loop, kept, &b, "body=0", 1000));
    http_server_drain(w->server);
    http_server_drain(w->server);
    assert_true(hear(w->loop, kept, &b, NULL, 500));
    assert_int_equal(dial(http_server_port(w->server)), -1);
    assert_int_equal(http_server_in_flight(w->server), 1);
    answer_held(w, 0);
    buf_clear(&b);
    assert_true(hear(w->loop, held, &b, NULL, 500));
    has(&b, "Connection: close\r\n");
    has(&b, "held /hold");
    assert_int_equal(http_server_in_flight(w->server), 0);
    close(held);
    close(kept);
}

static void bad_address_is_told(void **state) {
    struct world *w = *state;
    struct http_options o = w->options;
    struct http_server *s = NULL;
    CLEANUP(mem_free_charp) char *message = NULL;
    o.address = "nowhere";
    assert_int_equal(http_server_new(w->loop, &o, &s, &message), ERR_IO);
    assert_non_null(strstr(message, "nowhere"));
    assert_null(s);
    /* SO_REUSEPORT: a second server on the same port is allowed. */
    o.address = "127.0.0.1";
    o.port = http_server_port(w->server);
    char *none = NULL;
    assert_int_equal(http_server_new(w->loop, &o, &s, &none), ERR_OK);
    http_server_free(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(query_is_decoded),
        TEST(bodies_arrive_whole),
        TEST(expect_continue),
        TEST(head_has_no_body),
        TEST(no_content),
        TEST(large_answer),
        TEST(later_and_pipelined),
        TEST(client_leaves_while_held),
        TEST(half_closed_client_gets_its_answer),
        TEST(server_stop_abandons),
        TEST(answer_after_the_server),
        TEST(too_large_bodies),
        TEST(too_large_headers),
        TEST(garbage_is_refused),
        TEST(slow_clients_are_cut),
        TEST(held_requests_have_no_deadline_here),
        TEST(connections_are_limited),
        TEST(drain_lets_what_is_in_flight_end),
        TEST(bad_address_is_told),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
