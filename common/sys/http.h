/*
 * HTTP/1.1 server on an event loop (the only user of microhttpd.h: external epoll, suspend and resume, SO_REUSEPORT).
 *
 * A request reaches the handler once, complete with its body (bounded; a larger one is answered 413 by the server
 * itself). The handler answers then or later, from the loop's thread, exactly once. Until then the connection is
 * suspended. Slow, half-closed and oversized clients are cut by the server: header and body must arrive within
 * idle_timeout.
 */
#ifndef SYS_HTTP_H
#define SYS_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/sys/loop.h"

struct http_server;
struct http_request;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };

struct http_options {
    const char *address;      /* "127.0.0.1" */
    uint16_t port;            /* 0: any free one */
    unsigned max_connections; /* above: accepted and closed */
    unsigned idle_timeout_s;  /* a connection without a byte; also for header and body together; 4 of them to take the
                                 answer */
    size_t max_body;          /* bytes */
    /* ctx as given. May call http_respond at once or keep the request. */
    void (*handle)(void *ctx, struct http_request *r);
    /*
     * The exchange ended before the answer (the server stops): drop every reference to r; http_respond is no longer
     * allowed. NULL: the handler still calls http_respond, which then only frees r. A client that goes away meanwhile
     * is noticed at the answer only.
     */
    void (*abandoned)(void *ctx, struct http_request *r);
    /*
     * Problem body for errors that the server itself answers (400, 408, 413, 414, 431): appends to `to`, sets the type.
     * NULL: plain text. Not reached for what the library under it refuses with a page of its own and a close: a
     * malformed request line, header or chunk (400), no Host in HTTP/1.1 (400), an unknown HTTP version (505), a header
     * that does not even fit 6 KB (414, 431).
     */
    void (*problem)(void *ctx, unsigned status, const char *detail, struct buf *to, const char **ret_content_type);
    void *ctx;
};

/* Binds with SO_REUSEPORT, so that each thread's loop has a server of its own on one port. ERR_IO with *ret_message
 * (own). */
enum err http_server_new(struct loop *loop, const struct http_options *options, struct http_server **ret,
                         char **ret_message);
void http_server_free(struct http_server **s); /* abandons what is open; not from within handle */
uint16_t http_server_port(const struct http_server *s);
void http_server_drain(struct http_server *s); /* stops accepting; answers carry Connection: close */
unsigned http_server_connections(const struct http_server *s);
unsigned http_server_in_flight(const struct http_server *s); /* requests handed out and not answered */

enum http_method http_method(const struct http_request *r);
struct str http_path(const struct http_request *r); /* raw, without the query */
/* Decoded value of a query parameter, in the request's arena; data NULL when absent. */
struct str http_query(struct http_request *r, const char *name);
/* Calls fn for each query parameter, so that unknown ones can be refused. */
void http_query_each(struct http_request *r, void (*fn)(void *ctx, const char *name, const char *value), void *ctx);
struct str http_header(const struct http_request *r, const char *name); /* data NULL when absent */
/* Address bytes of the other end of the connection (4 of an IPv4 address), for telling clients apart; valid until the
 * answer. */
struct str http_peer(const struct http_request *r);
struct str http_body(const struct http_request *r);
struct arena *http_arena(struct http_request *r);       /* lives until the answer was sent */
uint64_t http_started_ns(const struct http_request *r); /* clock_mono_ns when the request line arrived */
void http_set_data(struct http_request *r, void *data);
void *http_data(const struct http_request *r);
/* Extra response headers, copied; before http_respond. */
void http_add_header(struct http_request *r, const char *name, const char *value);
/* Answers. Takes the memory of body (leaves it empty). content_type NULL: no body (204, 304). From the loop's thread,
 * once. */
void http_respond(struct http_request *r, unsigned status, const char *content_type, struct buf *body);

#endif
