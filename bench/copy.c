/* COPY ... FROM STDIN in chunks of about 256 KB. A failure is told at the end, once. */
#include "bench/copy.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/mem.h"

enum { CHUNK_BYTES = 256 * 1024 };

bool copy_begin(struct copy *k, struct bench *b, const char *what, const char *columns) {
    *k = (struct copy){.bench = b, .what = what};
    CLEANUP(mem_free_charp) char *sql = mem_printf("COPY %s FROM STDIN", columns);
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_copy_begin(b->db, sql, &message) == ERR_OK) return true;
    bench_fail("copy of %s: %s", what, message);
    return false;
}

static void flush(struct copy *k) {
    CLEANUP(mem_free_charp) char *message = NULL;
    if (!k->failed && k->rows.len && pg_sync_copy_data(k->bench->db, buf_str(&k->rows), &message) != ERR_OK) {
        bench_fail("copy of %s: %s", k->what, message);
        k->failed = true;
    }
    buf_clear(&k->rows);
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K%s: %llu rows", k->what, (unsigned long long)k->done);
}

void copy_row(struct copy *k) {
    buf_add_char(&k->rows, '\n');
    k->done++;
    if (k->rows.len >= CHUNK_BYTES) flush(k);
}

void copy_ids(struct copy *k, const uint64_t *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (i) buf_add_char(&k->rows, '\t');
        buf_add_u64(&k->rows, values[i]);
    }
    copy_row(k);
}

bool copy_end(struct copy *k) {
    flush(k);
    buf_fini(&k->rows);
    fprintf(stderr, "%s%s: %llu rows\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", k->what, (unsigned long long)k->done);
    CLEANUP(mem_free_charp) char *message = NULL;
    enum err e = pg_sync_copy_end(k->bench->db, &message);
    if (e != ERR_OK && !k->failed) bench_fail("copy of %s: %s", k->what, message);
    return e == ERR_OK && !k->failed;
}
