/*
 * Incremental parser of HTTP/1.1 responses (RFC 9112), for http_client.c and its fuzzer only. No I/O. One thread.
 *
 * The owner appends received bytes to raw and calls http_parser_run. A body with a Content-Length stays where it was
 * received; only a chunked one is copied together. Bounded: header 32 KB, body 16 MB.
 */
#ifndef SYS_HTTP_PARSER_H
#define SYS_HTTP_PARSER_H

#include <stdbool.h>

#include "common/base/buf.h"

enum { HTTP_PARSER_HEADER_MAX = 32 * 1024, HTTP_PARSER_BODY_MAX = 16 * 1024 * 1024 };

enum http_parse {
    HTTP_PARSE_MORE, /* needs more bytes, or the end of the stream */
    HTTP_PARSE_DONE, /* a whole response: status, headers, body are set until the next begin */
    HTTP_PARSE_BAD,  /* malformed, beyond a bound, or cut short; the connection is of no use any more */
};

enum http_parser_state {
    HTTP_P_HEADER,
    HTTP_P_LENGTH,
    HTTP_P_CHUNK_SIZE,
    HTTP_P_CHUNK,
    HTTP_P_TRAILER,
    HTTP_P_TO_END,
    HTTP_P_DONE,
    HTTP_P_BAD
};

struct http_parser {
    struct buf raw;    /* (own) received; the current response begins at its first byte */
    struct buf joined; /* (own) body put together from chunks */
    enum http_parser_state state;
    bool head;       /* the request was HEAD */
    bool keep_alive; /* valid once done: the connection may carry another request */
    unsigned status;
    size_t at; /* in raw: looked at so far */
    size_t header_at, header_len, body_at;
    size_t left;    /* bytes missing of the body or chunk */
    size_t trailer; /* bytes of the trailer so far */
};

void http_parser_init(struct http_parser *p);
void http_parser_fini(struct http_parser *p);
void http_parser_begin(struct http_parser *p, bool head); /* next response; drops the bytes of the last one */
/* ended: nothing more will come. */
enum http_parse http_parser_run(struct http_parser *p, bool ended);
/* After HTTP_PARSE_DONE. */
struct str http_parser_headers(const struct http_parser *p); /* lines with CRLF, without the status line */
struct str http_parser_body(const struct http_parser *p);
bool http_parser_surplus(const struct http_parser *p); /* bytes came beyond the response */
/* Value of the first header of this name, blanks trimmed; data NULL when absent. */
struct str http_header_find(struct str headers, const char *name);

#endif
