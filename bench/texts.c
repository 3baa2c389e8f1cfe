/* Texts of posts. Made-up ones have 20 to 140 bytes of words, evenly spread. */
#include "bench/texts.h"

#include <string.h>

#include "bench/lines.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"

enum { POST_CHARACTERS = 5000, MADE_UP_MIN = 20, MADE_UP_MAX = 140 };

static const char *const WORDS[] = {"river",  "morning", "lantern", "we",    "went",  "to",   "see",  "a",
                                    "bridge", "in",      "the",     "quiet", "north", "with", "cold", "tea"};

enum err texts_init(struct texts *t, const char *path, char **ret_message) {
    *t = (struct texts){.mean_bytes = (MADE_UP_MIN + MADE_UP_MAX) / 2.0};
    if (!path) return ERR_OK;
    CLEANUP(lines_close) struct lines *l = NULL;
    enum err e = lines_open(path, &l, ret_message);
    if (e != ERR_OK) return e;
    size_t cap = 0, bytes = 0, points;
    for (struct str line; lines_next(l, &line);) {
        if (!line.len || !utf8_valid(line.data, line.len, &points) || points > POST_CHARACTERS) continue;
        if (t->count == cap) t->lines = mem_grow(t->lines, cap = cap ? cap * 2 : 4096, sizeof(*t->lines));
        t->lines[t->count++] = mem_strndup(line.data, line.len);
        bytes += line.len;
    }
    if (!t->count) {
        *ret_message = mem_printf("%s has no usable line", path);
        return ERR_INVALID;
    }
    t->mean_bytes = (double)bytes / (double)t->count;
    return ERR_OK;
}

void texts_fini(struct texts *t) {
    for (size_t i = 0; i < t->count; i++) mem_free(t->lines[i]);
    mem_free(t->lines);
    *t = (struct texts){0};
}

void texts_add(const struct texts *t, uint64_t n, struct buf *to) {
    if (t->count) {
        buf_add_c(to, t->lines[n % t->count]);
        return;
    }
    struct rng r = {.state = n};
    size_t from = to->len, want = MADE_UP_MIN + (size_t)rng_below(&r, MADE_UP_MAX - MADE_UP_MIN + 1);
    while (to->len - from < want) {
        if (to->len > from) buf_add_char(to, ' ');
        buf_add_c(to, WORDS[rng_below(&r, ARRAY_LEN(WORDS))]);
    }
}
