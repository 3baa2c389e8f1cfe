/* Reading text files line by line, and the activity trace. */
#include "bench/lines.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "common/base/mem.h"

enum { LINE_MAX_BYTES = 64 * 1024 };

struct lines {
    gzFile file; /* (own) */
    char line[LINE_MAX_BYTES];
};

enum err lines_open(const char *path, struct lines **ret, char **ret_message) {
    gzFile f = gzopen(path, "rbe");
    if (!f) {
        *ret_message = mem_printf("cannot open %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    gzbuffer(f, 256 * 1024);
    struct lines *l = mem_alloc(sizeof(*l));
    l->file = f;
    *ret = l;
    return ERR_OK;
}

void lines_close(struct lines **l) {
    if (!*l) return;
    gzclose((*l)->file);
    mem_free(*l);
    *l = NULL;
}

bool lines_next(struct lines *l, struct str *ret) {
    bool whole = true;
    while (gzgets(l->file, l->line, sizeof(l->line))) {
        size_t n = strcspn(l->line, "\r\n");
        bool ended = l->line[n] != 0 || gzeof(l->file);
        bool take = whole && ended;
        whole = ended;
        if (!take) continue;
        l->line[n] = 0;
        *ret = str_of(l->line, n);
        return true;
    }
    return false;
}

static bool take_number(struct str *rest, uint64_t *ret) {
    size_t n = 0;
    while (n < rest->len && rest->data[n] != '\t' && rest->data[n] != ' ') n++;
    if (!str_u64(str_of(rest->data, n), ret)) return false;
    while (n < rest->len && (rest->data[n] == '\t' || rest->data[n] == ' ')) n++;
    *rest = str_of(rest->data + n, rest->len - n);
    return true;
}

bool activity_parse(struct str line, struct activity *ret) {
    struct activity a;
    if (!take_number(&line, &a.seconds) || !take_number(&line, &a.actor) || !take_number(&line, &a.target))
        return false;
    *ret = a;
    return true;
}

enum err activity_read(const char *path, struct activity **ret, size_t *ret_count, size_t *ret_malformed,
                       char **ret_message) {
    CLEANUP(lines_close) struct lines *l = NULL;
    if (lines_open(path, &l, ret_message) != ERR_OK) return ERR_IO;
    struct activity *rows = NULL;
    size_t n = 0, cap = 0, malformed = 0;
    for (struct str line; lines_next(l, &line);) {
        if (n == cap) rows = mem_grow(rows, cap = cap ? cap * 2 : 4096, sizeof(*rows));
        if (activity_parse(line, &rows[n]))
            n++;
        else
            malformed++;
    }
    if (!n) {
        mem_free(rows);
        *ret_message = mem_printf("%s holds no row 'unix_seconds a b kind'", path);
        return ERR_INVALID;
    }
    *ret = rows;
    *ret_count = n;
    *ret_malformed = malformed;
    return ERR_OK;
}
