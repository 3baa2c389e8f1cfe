/*
 * Content records as they are cached: JSON made once, copied into every answer. Pure codecs.
 *
 *   post    format (1) | zero (7) | post id (8) | author id (8) | JSON members without braces:
 *           "id":"1","text":"...","created_at":"..." (and "in_reply_to":"2" for a reply)
 *   user    format (1) | zero (7) | user id (8) | JSON object {"id":"1","handle":"a","name":"A","picture":null}
 *   counts format (1) | zero (7) | likes (8) | replies (8)
 * Integers big-endian. A post is served only together with its author's record and counts:
 *   {<post members>,"author":<user object>,"likes":0,"replies":0}
 */
#ifndef DOMAIN_CONTENT_H
#define DOMAIN_CONTENT_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

#define CONTENT_FORMAT 1

struct post_record {
    uint64_t post_id;
    uint64_t author_id;
    struct str members; /* (ref) JSON members without braces */
};
struct user_record {
    uint64_t user_id;
    struct str object; /* (ref) JSON object with braces */
};
struct counts_record {
    uint64_t likes;
    uint64_t replies;
};

/* text and names are valid UTF-8. in_reply_to 0: none; picture data NULL: null. All append. */
void post_record_encode(uint64_t post_id, uint64_t author_id, struct str text, uint64_t in_reply_to, struct buf *to);
void user_record_encode(uint64_t user_id, struct str handle, struct str name, struct str picture, struct buf *to);
void counts_record_encode(struct counts_record c, struct buf *to);
/* ERR_CORRUPT when the size, the format or the id does not fit: a miss, never a crash. The result borrows bytes. */
enum err post_record_decode(uint64_t post_id, struct str bytes, struct post_record *ret);
enum err user_record_decode(uint64_t user_id, struct str bytes, struct user_record *ret);
enum err counts_record_decode(struct str bytes, struct counts_record *ret);
/* Appends the post as clients see it. */
void post_write_json(const struct post_record *p, const struct user_record *author, struct counts_record counts,
                     struct buf *to);

#endif
