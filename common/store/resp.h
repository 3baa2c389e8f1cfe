/*
 * RESP, the wire format of Redis (protocol 2): encoding of commands into a buffer, and a decoder for streams of replies
 * of which only integers and errors matter. No I/O, no allocation but the caller's buffer. Any thread.
 */
#ifndef STORE_RESP_H
#define STORE_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

/* "*argc\r\n", then each argument "$len\r\n...\r\n". */
void resp_add_array(struct buf *to, size_t argc);
void resp_add_bulk(struct buf *to, struct str s);
void resp_add_command(struct buf *to, size_t argc, const struct str *argv);

/*
 * One reply from a stream, at *at. Returns the bytes it took, 0 when it is not complete yet, -1 when the stream is not
 * RESP. Integers and errors are told; any other reply (status, string, array at any depth) is skipped whole as
 * RESP_OTHER.
 */
enum resp_kind { RESP_INTEGER, RESP_ERROR, RESP_OTHER };
struct resp_reply {
    enum resp_kind kind;
    int64_t integer;
    struct str text; /* error text without the '-'; (ref: the stream) */
};
#define RESP_MALFORMED ((ptrdiff_t)-1)
ptrdiff_t resp_decode(const char *bytes, size_t len, struct resp_reply *ret);

#endif
