/*
 * Incremental parser of HTTP/1.1 responses: one state a line or a block, resumable at any byte.
 *
 *   HEADER -> (1xx: HEADER) -> LENGTH | CHUNK_SIZE <-> CHUNK .. TRAILER | TO_END -> DONE
 *
 * Invariant: at <= raw.len, and bytes before at are never looked at again; so the result does not depend on how the
 * stream was cut into pieces (the fuzzer asserts it).
 *
 * Strict where leniency could split one response in two: CRLF only, one Content-Length, "chunked" as the only transfer
 * coding. A response that has both ends the connection.
 */
#include "common/sys/http_parser.h"

#include <string.h>

enum { KEEP_BYTES = 256 * 1024, SIZE_LINE_MAX = 128, COMPACT_BYTES = 64 * 1024 };

void http_parser_init(struct http_parser *p) {
    *p = (struct http_parser){0};
}

void http_parser_fini(struct http_parser *p) {
    buf_fini(&p->raw);
    buf_fini(&p->joined);
}

void http_parser_begin(struct http_parser *p, bool head) {
    struct buf raw = p->raw, joined = p->joined;
    buf_drop_front(&raw, p->at);
    buf_clear(&joined);
    if (raw.cap > KEEP_BYTES && !raw.len) buf_fini(&raw);
    if (joined.cap > KEEP_BYTES) buf_fini(&joined);
    *p = (struct http_parser){.raw = raw, .joined = joined, .head = head};
}

struct str http_header_find(struct str headers, const char *name) {
    size_t name_len = strlen(name);
    const char *p = headers.data, *end = p + headers.len;
    while (p && p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *next = eol ? eol + 1 : end;
        size_t len = (size_t)(next - p);
        if (len > name_len && p[name_len] == ':' && str_ieq_c(str_of(p, name_len), name)) {
            const char *from = p + name_len + 1, *to = next;
            while (from < to && (*from == ' ' || *from == '\t')) from++;
            while (to > from && (to[-1] == '\n' || to[-1] == '\r' || to[-1] == ' ' || to[-1] == '\t')) to--;
            return str_of(from, (size_t)(to - from));
        }
        p = next;
    }
    return (struct str){0};
}

struct str http_parser_headers(const struct http_parser *p) {
    return str_of(p->raw.data + p->header_at, p->header_len);
}

struct str http_parser_body(const struct http_parser *p) {
    if (p->joined.len) return buf_str(&p->joined);
    return p->body_at ? str_of(p->raw.data + p->body_at, p->left) : str_of("", 0);
}

bool http_parser_surplus(const struct http_parser *p) {
    return p->raw.len > p->at;
}

static enum http_parse bad(struct http_parser *p) {
    p->state = HTTP_P_BAD;
    return HTTP_PARSE_BAD;
}

static enum http_parse done(struct http_parser *p) {
    p->state = HTTP_P_DONE;
    return HTTP_PARSE_DONE;
}

/* The line that begins at `at`, without CRLF; false when it is not complete. *ret_next is behind it. */
static bool line_at(const struct http_parser *p, struct str *ret_line, size_t *ret_next) {
    const char *from = p->raw.data + p->at;
    const char *crlf = memmem(from, p->raw.len - p->at, "\r\n", 2);
    if (!crlf) return false;
    *ret_line = str_of(from, (size_t)(crlf - from));
    *ret_next = p->at + ret_line->len + 2;
    return true;
}

/* "HTTP/1.1 200 OK"; the reason may be missing. */
static bool status_line(struct http_parser *p, struct str line) {
    if (line.len < 12 || memcmp(line.data, "HTTP/1.", 7)) return false;
    if ((line.data[7] != '0' && line.data[7] != '1') || line.data[8] != ' ') return false;
    uint64_t status;
    if (!str_u64(str_of(line.data + 9, 3), &status) || status < 100 || status > 599) return false;
    if (line.len > 12 && line.data[12] != ' ') return false;
    p->status = (unsigned)status;
    p->keep_alive = line.data[7] == '1';
    return true;
}

struct framing {
    bool length_given, chunked, bad;
    uint64_t length;
};

static void note_header(struct http_parser *p, struct framing *f, struct str name, struct str value) {
    if (str_ieq_c(name, "content-length")) {
        uint64_t length;
        if (!str_u64(value, &length) || (f->length_given && length != f->length)) {
            f->bad = true;
            return;
        }
        f->length_given = true;
        f->length = length;
    } else if (str_ieq_c(name, "transfer-encoding")) {
        if (f->chunked || !str_ieq_c(value, "chunked")) f->bad = true;
        f->chunked = true;
    } else if (str_ieq_c(name, "connection")) {
        if (str_ieq_c(value, "close")) p->keep_alive = false;
        if (str_ieq_c(value, "keep-alive")) p->keep_alive = true;
    }
}

static bool read_headers(struct http_parser *p, struct framing *f) {
    const char *at = p->raw.data + p->header_at, *end = at + p->header_len;
    while (at < end) {
        const char *crlf = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!crlf) return false;
        const char *colon = memchr(at, ':', (size_t)(crlf - at));
        if (!colon || colon == at || *at == ' ' || *at == '\t') return false; /* folded lines are obsolete */
        const char *from = colon + 1, *to = crlf;
        while (from < to && (*from == ' ' || *from == '\t')) from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t')) to--;
        note_header(p, f, str_of(at, (size_t)(colon - at)), str_of(from, (size_t)(to - from)));
        at = crlf + 2;
    }
    return !f->bad;
}

/* What kind of body follows a complete header (RFC 9112, 6.3). */
static enum http_parse frame(struct http_parser *p, const struct framing *f) {
    if (p->head || p->status == 204 || p->status == 304) return done(p);
    p->body_at = p->at;
    if (f->chunked) {
        if (f->length_given) p->keep_alive = false;
        p->state = HTTP_P_CHUNK_SIZE;
        return HTTP_PARSE_MORE;
    }
    if (!f->length_given) {
        p->keep_alive = false;
        p->state = HTTP_P_TO_END;
        return HTTP_PARSE_MORE;
    }
    if (f->length > HTTP_PARSER_BODY_MAX) return bad(p);
    p->left = (size_t)f->length;
    p->state = HTTP_P_LENGTH;
    return HTTP_PARSE_MORE;
}

static enum http_parse header(struct http_parser *p, bool *ret_stalled) {
    size_t from = p->at > 3 ? p->at - 3 : 0; /* of the current response: raw begins with it, but for 1xx before it */
    if (from < p->header_at) from = p->header_at;
    const char *end = memmem(p->raw.data + from, p->raw.len - from, "\r\n\r\n", 4);
    size_t header_end = end ? (size_t)(end - p->raw.data) + 4 : p->raw.len;
    if (header_end > HTTP_PARSER_HEADER_MAX) return bad(p);
    if (!end) {
        p->at = p->raw.len;
        *ret_stalled = true;
        return HTTP_PARSE_MORE;
    }
    p->at = p->header_at;
    struct str line;
    size_t next;
    if (!line_at(p, &line, &next) || !status_line(p, line)) return bad(p);
    p->header_at = next;
    p->header_len = header_end - 2 - next; /* the blank line begins at header_end - 2, and next is at most that */
    p->at = header_end;
    struct framing f = {0};
    if (!read_headers(p, &f) || p->status == 101) return bad(p);
    if (p->status < 200) { /* an interim response: the final one follows */
        p->header_at = header_end;
        return HTTP_PARSE_MORE;
    }
    return frame(p, &f);
}

static enum http_parse length(struct http_parser *p, bool *ret_stalled) {
    if (p->raw.len - p->body_at < p->left) {
        *ret_stalled = true;
        return HTTP_PARSE_MORE;
    }
    p->at = p->body_at + p->left;
    return done(p);
}

static bool hex_size(struct str line, size_t *ret) {
    size_t size = 0, i = 0;
    for (; i < line.len && line.data[i] != ';' && line.data[i] != ' ' && line.data[i] != '\t'; i++) {
        char c = line.data[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return false;
        size = size * 16 + (size_t)digit;
        if (size > HTTP_PARSER_BODY_MAX) return false;
    }
    *ret = size;
    return i > 0;
}

static enum http_parse chunk_size(struct http_parser *p, bool *ret_stalled) {
    struct str line;
    size_t next, size;
    if (!line_at(p, &line, &next)) {
        *ret_stalled = true;
        return p->raw.len - p->at > SIZE_LINE_MAX + 1 ? bad(p) : HTTP_PARSE_MORE;
    }
    if (line.len > SIZE_LINE_MAX || !hex_size(line, &size)) return bad(p);
    if (size > HTTP_PARSER_BODY_MAX - p->joined.len) return bad(p);
    p->at = next;
    p->left = size;
    p->state = size ? HTTP_P_CHUNK : HTTP_P_TRAILER;
    return HTTP_PARSE_MORE;
}

/* The bytes of a chunk are taken as they come; then its CRLF. */
static enum http_parse chunk(struct http_parser *p, bool *ret_stalled) {
    size_t have = p->raw.len - p->at;
    size_t take = have < p->left ? have : p->left;
    buf_add(&p->joined, p->raw.data + p->at, take);
    p->at += take;
    p->left -= take;
    if (p->left || p->raw.len - p->at < 2) {
        *ret_stalled = true;
        return HTTP_PARSE_MORE;
    }
    if (memcmp(p->raw.data + p->at, "\r\n", 2)) return bad(p);
    p->at += 2;
    p->state = HTTP_P_CHUNK_SIZE;
    return HTTP_PARSE_MORE;
}

static enum http_parse trailer(struct http_parser *p, bool *ret_stalled) {
    struct str line;
    size_t next;
    if (!line_at(p, &line, &next)) {
        *ret_stalled = true;
        return p->trailer + (p->raw.len - p->at) > HTTP_PARSER_HEADER_MAX ? bad(p) : HTTP_PARSE_MORE;
    }
    p->trailer += next - p->at;
    if (p->trailer > HTTP_PARSER_HEADER_MAX) return bad(p);
    p->at = next;
    return line.len ? HTTP_PARSE_MORE : done(p);
}

static enum http_parse to_end(struct http_parser *p, bool ended, bool *ret_stalled) {
    p->at = p->raw.len;
    p->left = p->raw.len - p->body_at;
    if (p->left > HTTP_PARSER_BODY_MAX) return bad(p);
    *ret_stalled = true;
    return ended ? done(p) : HTTP_PARSE_MORE;
}

static enum http_parse step(struct http_parser *p, bool ended, bool *ret_stalled) {
    switch (p->state) {
    case HTTP_P_HEADER:
        return header(p, ret_stalled);
    case HTTP_P_LENGTH:
        return length(p, ret_stalled);
    case HTTP_P_CHUNK_SIZE:
        return chunk_size(p, ret_stalled);
    case HTTP_P_CHUNK:
        return chunk(p, ret_stalled);
    case HTTP_P_TRAILER:
        return trailer(p, ret_stalled);
    case HTTP_P_TO_END:
        return to_end(p, ended, ret_stalled);
    case HTTP_P_DONE:
        return HTTP_PARSE_DONE;
    case HTTP_P_BAD:
        break;
    }
    return HTTP_PARSE_BAD;
}

/* Tiny chunks cost several times their payload on the wire: what was taken of them must not pile up. */
static void compact(struct http_parser *p) {
    bool chunked = p->state == HTTP_P_CHUNK_SIZE || p->state == HTTP_P_CHUNK || p->state == HTTP_P_TRAILER;
    if (!chunked || p->at - p->body_at < COMPACT_BYTES) return;
    memmove(p->raw.data + p->body_at, p->raw.data + p->at, p->raw.len - p->at);
    p->raw.len -= p->at - p->body_at;
    p->raw.data[p->raw.len] = '\0';
    p->at = p->body_at;
}

enum http_parse http_parser_run(struct http_parser *p, bool ended) {
    if (!p->raw.data) return ended ? bad(p) : HTTP_PARSE_MORE;
    bool stalled = false;
    enum http_parse result = HTTP_PARSE_MORE;
    while (result == HTTP_PARSE_MORE && !stalled) result = step(p, ended, &stalled);
    if (result == HTTP_PARSE_MORE && ended) return bad(p);
    if (result == HTTP_PARSE_MORE) compact(p);
    return result;
}
