/*
 * Content records. What never changes about a post is rendered once, when it is cached; an answer is put together by
 * copying. Decoding checks that a record is of this format and belongs to the key it was found under; the JSON inside
 * is trusted, it was made by the encoder here.
 */
#include "common/domain/content.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/json_escape.h"
#include "common/domain/id.h"

#define POST_HEADER  24
#define USER_HEADER  16
#define COUNTS_BYTES 24

static const unsigned char format[8] = {CONTENT_FORMAT};

static void add_format(struct buf *to) {
    buf_add(to, format, sizeof(format));
}

static bool has_format(struct str bytes, size_t at_least) {
    return bytes.len >= at_least && memcmp(bytes.data, format, sizeof(format)) == 0;
}

static void add_string_member(struct buf *to, const char *name, struct str value) {
    buf_add_c(to, name);
    buf_add_char(to, '"');
    json_escape(to, value);
    buf_add_char(to, '"');
}

static void add_id_member(struct buf *to, const char *name, uint64_t id) {
    buf_add_c(to, name);
    buf_add_char(to, '"');
    buf_add_u64(to, id);
    buf_add_char(to, '"');
}

void post_record_encode(uint64_t post_id, uint64_t author_id, struct str text, uint64_t in_reply_to, struct buf *to) {
    char created_at[25];
    clock_format_rfc3339(id_unix_ms(post_id), created_at);
    buf_reserve(to, POST_HEADER + text.len + 160);
    add_format(to);
    buf_add_be64(to, post_id);
    buf_add_be64(to, author_id);
    add_id_member(to, "\"id\":", post_id);
    add_string_member(to, ",\"text\":", text);
    add_string_member(to, ",\"created_at\":", str_c(created_at));
    if (in_reply_to) add_id_member(to, ",\"in_reply_to\":", in_reply_to);
}

void user_record_encode(uint64_t user_id, struct str handle, struct str name, struct str picture, struct buf *to) {
    add_format(to);
    buf_add_be64(to, user_id);
    add_id_member(to, "{\"id\":", user_id);
    add_string_member(to, ",\"handle\":", handle);
    add_string_member(to, ",\"name\":", name);
    if (picture.data) {
        add_string_member(to, ",\"picture\":", picture);
    } else {
        buf_add_c(to, ",\"picture\":null");
    }
    buf_add_char(to, '}');
}

void counts_record_encode(struct counts_record c, struct buf *to) {
    add_format(to);
    buf_add_be64(to, c.likes);
    buf_add_be64(to, c.replies);
}

enum err post_record_decode(uint64_t post_id, struct str bytes, struct post_record *ret) {
    if (!has_format(bytes, POST_HEADER + 1)) return ERR_CORRUPT;
    uint64_t id = be64_load(bytes.data + 8), author_id = be64_load(bytes.data + 16);
    if (id != post_id || author_id == 0 || author_id > ID_MAX) return ERR_CORRUPT;
    *ret = (struct post_record){id, author_id, str_of(bytes.data + POST_HEADER, bytes.len - POST_HEADER)};
    return ERR_OK;
}

enum err user_record_decode(uint64_t user_id, struct str bytes, struct user_record *ret) {
    if (!has_format(bytes, USER_HEADER + 2) || be64_load(bytes.data + 8) != user_id) return ERR_CORRUPT;
    struct str object = str_of(bytes.data + USER_HEADER, bytes.len - USER_HEADER);
    if (object.data[0] != '{' || object.data[object.len - 1] != '}') return ERR_CORRUPT;
    *ret = (struct user_record){user_id, object};
    return ERR_OK;
}

enum err counts_record_decode(struct str bytes, struct counts_record *ret) {
    if (bytes.len != COUNTS_BYTES || !has_format(bytes, COUNTS_BYTES)) return ERR_CORRUPT;
    *ret = (struct counts_record){be64_load(bytes.data + 8), be64_load(bytes.data + 16)};
    return ERR_OK;
}

void post_write_json(const struct post_record *p, const struct user_record *author, struct counts_record counts,
                     struct buf *to) {
    buf_reserve(to, p->members.len + author->object.len + 96);
    buf_add_char(to, '{');
    buf_add_str(to, p->members);
    buf_add_c(to, ",\"author\":");
    buf_add_str(to, author->object);
    buf_add_c(to, ",\"likes\":");
    buf_add_u64(to, counts.likes);
    buf_add_c(to, ",\"replies\":");
    buf_add_u64(to, counts.replies);
    buf_add_char(to, '}');
}
