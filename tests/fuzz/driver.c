/*
 * Deterministic driver of one fuzz target: LENGTH [SEED] [FILE...]; LENGTH is a number of inputs, or seconds with an s
 * behind ("5s"). Each round takes a seed input (the target's own and the files), mutates it and hands it over in an
 * allocation of exactly its size, so that AddressSanitizer sees the first byte read beyond it. The same seed gives the
 * same inputs in the same order on every machine; there is no coverage feedback.
 *
 * The input that ended the process is printed in hexadecimal; a file of its bytes (xxd -r -p) may be given as a seed.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 4096
#define SEEDS_MAX 256

struct seeds {
    struct buf inputs[SEEDS_MAX];
    size_t count;
};

/* The input under test, for the last words. */
static const uint8_t *current;
static size_t current_size;

/* Signal-safe. */
static void print_current(void) {
    static const char digits[] = "0123456789abcdef";
    static char text[2 * INPUT_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < current_size && n + 2 < sizeof(text); i++) {
        text[n++] = digits[current[i] >> 4];
        text[n++] = digits[current[i] & 15];
    }
    text[n++] = '\n';
    if (write(STDERR_FILENO, "input: ", 7) < 0 || write(STDERR_FILENO, text, n) < 0) return;
}

static void on_abort(int signal_number) {
    (void)signal_number;
    print_current();
}

/* Of the sanitizers' runtime, when there is one. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void print_input_at_death(void) {
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(print_current);
}

static bool seeds_add_file(struct seeds *s, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    char chunk[INPUT_MAX];
    size_t len = fread(chunk, 1, sizeof(chunk), f);
    bool good = !ferror(f);
    fclose(f);
    if (good && s->count < SEEDS_MAX) buf_add(&s->inputs[s->count++], chunk, len);
    return good;
}

/* Bytes at which parsers change their mind. */
static uint8_t telling_byte(struct rng *r) {
    static const uint8_t bytes[] = {0,    1,    7,    8,    0x1f, 0x7f, 0x80, 0x90, 0x94, 0xa0,
                                    0xc0, 0xcf, 0xd9, 0xdd, 0xdf, 0xff, '"',  '\\', '{',  '}'};
    return rng_below(r, 2) ? bytes[rng_below(r, sizeof(bytes))] : (uint8_t)rng_next(r);
}

static void insert_byte(struct buf *b, size_t at, uint8_t byte) {
    if (b->len >= INPUT_MAX) return;
    buf_add_char(b, 0);
    memmove(b->data + at + 1, b->data + at, b->len - at - 1);
    b->data[at] = (char)byte;
}

static void mutate(struct rng *r, struct buf *b) {
    size_t at = rng_below(r, b->len + 1);
    switch (rng_below(r, 6)) {
    case 0:
        insert_byte(b, at, telling_byte(r));
        break;
    case 1: /* cut off */
        b->len = at;
        break;
    case 2: /* repeat the front */
        if (b->len * 2 <= INPUT_MAX && b->len) {
            CLEANUP(buf_fini) struct buf copy = BUF_INIT;
            buf_add(&copy, b->data, at);
            buf_add_str(b, buf_str(&copy));
        }
        break;
    case 3: /* a number somewhere */
        if (b->len >= 8) be64_store(b->data + rng_below(r, b->len - 7), rng_next(r) >> rng_below(r, 64));
        break;
    case 4:
        if (at < b->len) b->data[at] = (char)(b->data[at] ^ 1 << rng_below(r, 8));
        break;
    default:
        if (at < b->len) b->data[at] = (char)telling_byte(r);
    }
}

static void run_one(struct rng *r, const struct seeds *s, struct buf *scratch) {
    buf_clear(scratch);
    if (s->count) buf_add_str(scratch, buf_str(&s->inputs[rng_below(r, s->count)]));
    for (uint64_t n = rng_below(r, 6); n; n--) mutate(r, scratch);
    uint8_t *exact = malloc(scratch->len ? scratch->len : 1);
    if (!exact) abort();
    if (scratch->len) memcpy(exact, scratch->data, scratch->len);
    current = exact;
    current_size = scratch->len;
    LLVMFuzzerTestOneInput(exact, scratch->len);
    current_size = 0;
    free(exact);
}

/* "N" inputs, or "Ns": as many as N seconds take. */
static bool parse_length(const char *text, uint64_t *ret_iterations, uint64_t *ret_until_ms) {
    struct str s = str_c(text);
    uint64_t n;
    bool timed = s.len > 1 && s.data[s.len - 1] == 's';
    if (timed) s.len--;
    if (!str_u64(s, &n) || (timed && n > 86400)) return false;
    *ret_iterations = timed ? UINT64_MAX : n;
    *ret_until_ms = timed ? clock_mono_ms() + n * 1000 : UINT64_MAX;
    return true;
}

int main(int argc, char **argv) {
    uint64_t iterations = 0, until_ms = 0, seed = 1, done = 0;
    if (argc < 2 || !parse_length(argv[1], &iterations, &until_ms) || (argc > 2 && !str_u64(str_c(argv[2]), &seed))) {
        fprintf(stderr, "usage: %s INPUTS|SECONDSs [SEED] [FILE...]\n", argv[0]);
        return 2;
    }
    static struct seeds seeds;
    while (seeds.count < SEEDS_MAX && fuzz_seed(seeds.count, &seeds.inputs[seeds.count])) seeds.count++;
    for (int i = 3; i < argc; i++) {
        if (seeds_add_file(&seeds, argv[i])) continue;
        fprintf(stderr, "%s: cannot read it\n", argv[i]);
        return 2;
    }
    print_input_at_death();
    struct rng rng = {seed};
    CLEANUP(buf_fini) struct buf scratch = BUF_INIT;
    for (; done < iterations && clock_mono_ms() < until_ms; done++) run_one(&rng, &seeds, &scratch);
    for (size_t i = 0; i < SEEDS_MAX; i++) buf_fini(&seeds.inputs[i]);
    printf("%llu inputs, seed %llu: ok\n", (unsigned long long)done, (unsigned long long)seed);
    return 0;
}
