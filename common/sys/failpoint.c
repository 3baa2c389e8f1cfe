/*
 * Failpoints of test builds.
 *
 *   FANFARE_FAILPOINTS (read once) and the file (read again when it changes) -> table of points -> failpoint_hit
 *
 * A point of the file stands before one of the same name in the environment. A point keeps its count when the file is
 * read again and its specification is the same; a changed one starts from zero. The lock is never held while a thread
 * pauses, so one paused place does not stop the others.
 *
 * What cannot be read is told on stderr and, in the environment, ends the process: a test whose fault is misspelt must
 * not pass. The real clock is asked, because tests that own the monotonic clock still change the file.
 */
#include "common/sys/failpoint.h"

#ifdef FANFARE_FAILPOINTS

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

#define CHECK_NS   5000000
#define POINTS_MAX 64
#define FILE_BYTES 65536

enum action { ACTION_OFF, ACTION_ABORT, ACTION_ERROR, ACTION_PAUSE };

struct point {
    char name[96];
    char path[256]; /* of pause */
    char spec[400]; /* as written after the '=' */
    enum action action;
    uint64_t from;  /* first hit that counts, from 1 */
    uint64_t times; /* UINT64_MAX: for ever */
    uint64_t hits, fired;
};

struct table {
    struct point points[POINTS_MAX];
    size_t count;
};

/* Failpoints are called from places that have no context to carry this in. */
static struct {
    pthread_mutex_t lock;
    bool started;
    struct table environment, file;
    struct stat seen; /* the file as last read */
    uint64_t checked_ns;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Cuts "suffix mark number" off the end of text; absent leaves *ret alone. False when the number is none. */
static bool take_number(char *text, char mark, uint64_t *ret) {
    char *at = strrchr(text, mark);
    if (!at) return true;
    *at = '\0';
    return str_u64(str_c(at + 1), ret) && *ret > 0;
}

static bool parse_action(char *text, struct point *p) {
    if (strcmp(text, "off") == 0)
        p->action = ACTION_OFF;
    else if (strcmp(text, "abort") == 0)
        p->action = ACTION_ABORT;
    else if (strcmp(text, "error") == 0)
        p->action = ACTION_ERROR;
    else if (strncmp(text, "pause:", 6) == 0 && text[6] == '/' && strlen(text + 6) < sizeof p->path)
        p->action = ACTION_PAUSE;
    else
        return false;
    if (p->action == ACTION_PAUSE) snprintf(p->path, sizeof p->path, "%s", text + 6);
    return true;
}

static bool parse_point(const char *text, size_t len, struct point *p) {
    CLEANUP(mem_free_charp) char *copy = mem_strndup(text, len);
    char *equals = strchr(copy, '=');
    *p = (struct point){.from = 1, .times = UINT64_MAX};
    if (!equals || equals == copy || (size_t)(equals - copy) >= sizeof p->name) return false;
    if (strlen(equals + 1) >= sizeof p->spec) return false;
    *equals = '\0';
    memcpy(p->name, copy, strlen(copy) + 1);
    memcpy(p->spec, equals + 1, strlen(equals + 1) + 1);
    return take_number(equals + 1, '*', &p->times) && take_number(equals + 1, '@', &p->from) &&
           parse_action(equals + 1, p);
}

static struct point *find(struct table *t, const char *name) {
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->points[i].name, name) == 0) return &t->points[i];
    return NULL;
}

/* Fills t from lines or ';'-separated points; false when some could not be read (they are left out). */
static bool parse_table(const char *text, struct table *t) {
    bool good = true;
    t->count = 0;
    while (*text) {
        size_t len = strcspn(text, ";\n"), skip = len + (text[len] != '\0');
        while (len > 0 && strchr(" \t\r", text[0])) text++, len--, skip--;
        while (len > 0 && strchr(" \t\r", text[len - 1])) len--;
        if (len > 0 && text[0] != '#') {
            struct point *p = t->count < POINTS_MAX ? &t->points[t->count] : NULL;
            if (p && parse_point(text, len, p)) {
                t->count++;
            } else {
                fprintf(stderr, "failpoint: \"%.*s\" is not name=off|abort|error|pause:/PATH[@n][*m]\n", (int)len,
                        text);
                good = false;
            }
        }
        text += skip;
    }
    return good;
}

static void start(void) {
    const char *text = getenv("FANFARE_FAILPOINTS");
    if (text && !parse_table(text, &state.environment)) abort();
    state.started = true;
}

static void read_file(const char *path) {
    static char text[FILE_BYTES]; /* under the lock */
    static struct table old;
    FILE *f = fopen(path, "re");
    if (!f) return;
    size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = '\0';
    old = state.file;
    parse_table(text, &state.file);
    for (size_t i = 0; i < state.file.count; i++) {
        struct point *now = &state.file.points[i], *before = find(&old, now->name);
        if (!before || strcmp(before->spec, now->spec) != 0) continue;
        now->hits = before->hits;
        now->fired = before->fired;
    }
}

static void refresh_file(void) {
    const char *path = getenv("FANFARE_FAILPOINT_FILE");
    if (!path) return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    if (state.checked_ns != 0 && now_ns - state.checked_ns < CHECK_NS) return;
    state.checked_ns = now_ns;
    struct stat st;
    if (stat(path, &st) != 0) {
        state.file.count = 0;
        state.seen = (struct stat){0};
        return;
    }
    bool same = st.st_ino == state.seen.st_ino && st.st_size == state.seen.st_size &&
                st.st_mtim.tv_sec == state.seen.st_mtim.tv_sec && st.st_mtim.tv_nsec == state.seen.st_mtim.tv_nsec;
    if (same) return;
    state.seen = st;
    read_file(path);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    if (wall.tv_sec - st.st_mtim.tv_sec <= 1)
        state.seen.st_size = -1; /* may change again within one tick of its time: look again */
}

static enum action decide(const char *name, char ret_path[static 256]) {
    pthread_mutex_lock(&state.lock);
    if (!state.started) start();
    refresh_file();
    struct point *p = find(&state.file, name);
    if (!p) p = find(&state.environment, name);
    enum action action = ACTION_OFF;
    if (p && ++p->hits >= p->from && p->fired < p->times) {
        p->fired++;
        action = p->action;
        memcpy(ret_path, p->path, sizeof p->path);
    }
    pthread_mutex_unlock(&state.lock);
    return action;
}

bool failpoint_hit(const char *name) {
    char path[256];
    switch (decide(name, path)) {
    case ACTION_OFF:
        return false;
    case ACTION_ABORT:
        _exit(137);
    case ACTION_ERROR:
        return true;
    case ACTION_PAUSE:
        while (access(path, F_OK) == 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        return false;
    }
    return false;
}

#else

typedef int failpoints_are_not_built; /* a translation unit must hold something */

#endif
