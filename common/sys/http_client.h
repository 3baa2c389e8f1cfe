/*
 * HTTP/1.1 client on an event loop: keep-alive connections to one address, one request in flight each. For fanfarectl
 * and the bench tool. Loop's thread only.
 */
#ifndef SYS_HTTP_CLIENT_H
#define SYS_HTTP_CLIENT_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/sys/loop.h"

struct http_client;
struct http_reply {
    unsigned status;
    struct str headers; /* raw header block */
    struct str body;
};
/* Value of a response header (case-insensitive); data NULL when absent. */
struct str http_reply_header(const struct http_reply *r, const char *name);

/*
 * Exactly once a request. reply is valid during the call only, NULL unless ERR_OK. ERR_REFUSED: not sent (no
 * connection, or the time ran out before there was one); ERR_LOST, ERR_TIMEOUT: uncertain; ERR_PROTOCOL: the reply was
 * malformed, or longer than 32 KB of header and 16 MB of body; ERR_CANCELED: the client was freed. May call anything,
 * http_client_free too.
 */
typedef void http_reply_fn(void *ctx, enum err err, const struct http_reply *reply);

/* url: "http://127.0.0.1:8080" (an IPv4 address or localhost), else ERR_INVALID. connections: most at once; further
 * requests wait in order (up to max_waiting, then ERR_BUSY). */
enum err http_client_new(struct loop *loop, const char *url, unsigned connections, unsigned max_waiting,
                         struct http_client **ret);
void http_client_free(struct http_client **c); /* open requests complete with ERR_CANCELED */
/*
 * headers: extra lines, each "Name: value\r\n", copied. body may be empty. Never calls done before it returned. On an
 * error return done is not called: ERR_BUSY, or ERR_INVALID (method, target or headers would break the request). GET,
 * HEAD, PUT, DELETE and OPTIONS are sent once more when a kept connection turns out to have been closed before any byte
 * of the reply. timeout_ms counts from here.
 */
enum err http_client_send(struct http_client *c, const char *method, const char *target, struct str headers,
                          struct str body, uint64_t timeout_ms, http_reply_fn *done, void *ctx);

#endif
