/* JSON string escaping: runs of plain bytes are copied whole, since nearly every text is one such run. */
#include "common/base/json_escape.h"

static bool plain(char c) {
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

static void escape_char(struct buf *to, char c) {
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[(unsigned char)c >> 4], hex[(unsigned char)c & 15]};
    size_t len = 2;
    switch (c) {
    case '"':
    case '\\':
        text[1] = c;
        break;
    case '\b':
        text[1] = 'b';
        break;
    case '\f':
        text[1] = 'f';
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        len = 6;
    }
    buf_add(to, text, len);
}

void json_escape(struct buf *to, struct str s) {
    size_t at = 0;
    while (at < s.len) {
        size_t run = at;
        while (run < s.len && plain(s.data[run])) run++;
        buf_add(to, s.data + at, run - at);
        if (run < s.len) escape_char(to, s.data[run++]);
        at = run;
    }
}
