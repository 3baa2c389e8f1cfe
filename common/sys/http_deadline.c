/*
 * Phases of a connection and their deadlines, and the answers that are written past MHD.
 *
 * MHD's own timeout is one of silence: a client that sends a byte now and then holds its connection for ever. So each
 * phase has a deadline for the whole of it, in idle timeouts:
 *
 *   NEW 1  ->  READING 1 (408)  ->  HANDED -  ->  SENDING 4  ->  KEPT 2  ->  READING ...
 *
 * KEPT has 2 because a client may send its next request just before MHD would close the silent connection, and must
 * then have time for it. All connections of a phase have the same deadline, so a list in order of arrival is sorted.
 *
 * MHD accepts no answer while it reads a body, and none at all from us while it reads a header. A refusal is therefore
 * written to the socket directly (nothing else is under way on it then), our side is shut down, and what the client
 * still sends is read and thrown away for a while: closing at once would reset the connection before the client has
 * read why.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/http_private.h"

static const unsigned phase_timeouts[HTTP_PHASES] = {
    [HTTP_PHASE_NEW] = 1, [HTTP_PHASE_READING] = 1, [HTTP_PHASE_SENDING] = 4, [HTTP_PHASE_KEPT] = 2};

void http_phase_set(struct http_conn *c, enum http_phase phase) {
    c->phase = phase;
    if (!list_linked(&c->link)) return; /* cut */
    c->since_ms = clock_mono_ms();
    list_del(&c->link);
    list_add_tail(&c->server->phases[phase], &c->link);
}

static const char *reason(unsigned status) {
    switch (status) {
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Bad Request";
    }
}

void http_refuse(struct http_request *r, unsigned status, const char *detail) {
    if (r->refused) return;
    r->refused = true;
    const struct http_options *o = &r->server->options;
    CLEANUP(buf_fini) struct buf body = BUF_INIT;
    const char *type = "text/plain";
    if (o->problem) {
        o->problem(o->ctx, status, detail, &body, &type);
    } else {
        buf_addf(&body, "%s\n", detail);
    }
    char date[64];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    CLEANUP(buf_fini) struct buf answer = BUF_INIT;
    buf_addf(&answer,
             "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
             status, reason(status), date, type, body.len);
    if (r->method != HTTP_HEAD) buf_add_str(&answer, buf_str(&body));
    /* A new answer of a kilobyte fits the empty send buffer; a client that does not take it gets none. */
    ssize_t sent = send(r->conn->fd, answer.data, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent;
    shutdown(r->conn->fd, SHUT_WR);
}

/* MHD reads the end of the stream in its next turn and closes. */
static void cut(struct http_conn *c) {
    if (c->phase == HTTP_PHASE_READING && c->request) {
        http_refuse(c->request, 408, "The request did not arrive completely within the time allowed.");
    }
    list_del(&c->link);
    shutdown(c->fd, SHUT_RDWR);
}

static uint64_t tick_ms(const struct http_server *s) {
    uint64_t tick = (uint64_t)s->options.idle_timeout_s * 1000 / 8;
    return tick < 50 ? 50 : tick > 1000 ? 1000 : tick;
}

static void look(struct loop_timer *t) {
    struct http_server *s = CONTAINER_OF(t, struct http_server, timer);
    uint64_t now = clock_mono_ms();
    for (int phase = 0; phase < HTTP_PHASES; phase++) {
        uint64_t allowed = (uint64_t)phase_timeouts[phase] * s->options.idle_timeout_s * 1000;
        while (allowed && !list_empty(&s->phases[phase])) {
            struct http_conn *c = CONTAINER_OF(s->phases[phase].next, struct http_conn, link);
            if (now < c->since_ms + allowed) break;
            cut(c);
        }
    }
    http_deadlines_start(s);
}

void http_deadlines_start(struct http_server *s) {
    s->timer.fire = look;
    if (s->connections > 0 && !s->timer.loop) loop_timer_start(s->loop, &s->timer, tick_ms(s));
}
