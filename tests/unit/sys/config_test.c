/* Options: the four sources and their order, every type, and what each refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/config.h"

struct options {
    char *address;
    char *keys;
    char *needed;
    int64_t threads;
    int64_t any;
    double rate;
    bool fast;
    int64_t wait_ms;
    int64_t memory;
};

#define FIELD(name) offsetof(struct options, name)
static const struct option main_table[] = {
    {"feedd", "address", OPTION_STRING, FIELD(address), "127.0.0.1", 0, 0, false, false, "Where | to listen."},
    {"feedd", "threads", OPTION_INT, FIELD(threads), "2", 1, 64, false, false, "Threads."},
    {"feedd", "any", OPTION_INT, FIELD(any), "-5", 0, 0, false, true, "Any number."},
    {"feedd", "rate", OPTION_DOUBLE, FIELD(rate), "0.5", 0, 10, false, true, "Rate."},
    {0},
};
static const struct option more_table[] = {
    {"cache", "wait", OPTION_DURATION, FIELD(wait_ms), "250ms", 10, 60000, false, true, "Wait."},
    {"cache", "memory", OPTION_SIZE, FIELD(memory), "64k", 1024, INT64_C(8) << 30, false, false, "Memory."},
    {"feedd", "fast", OPTION_BOOL, FIELD(fast), "no", 0, 0, false, false, "Fast."},
    {"auth", "keys", OPTION_STRING, FIELD(keys), "", 0, 0, true, false, "Keys."},
    {0},
};
static const struct option needy_table[] = {
    {"auth", "needed", OPTION_STRING, FIELD(needed), NULL, 0, 0, false, false, "Needed."},
    {0},
};
static const struct option *const tables[] = {main_table, more_table, NULL};
static const struct option *const needy[] = {main_table, needy_table, NULL};

static char path[] = "/tmp/config_test.XXXXXX";

static void write_file(const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void parse_ok(const char *file_text, const char *const *sets, struct options *o) {
    char *message = NULL;
    if (file_text) write_file(file_text);
    memset(o, 0xa5, sizeof *o); /* what was there does not matter */
    struct config_source source = {.file = file_text ? path : NULL, .sets = sets};
    if (config_parse(tables, &source, o, &message) != ERR_OK) fail_msg("%s", message);
}

/* The message is where (after the file's name) and the rest, as a whole. */
static void parse_fails(const char *file_text, const char *set, const char *wanted) {
    struct options o;
    CLEANUP(mem_free_charp) char *message = NULL;
    const char *sets[] = {set, NULL};
    if (file_text) write_file(file_text);
    struct config_source source = {.file = file_text ? path : NULL, .sets = set ? sets : NULL};
    assert_int_equal(config_parse(tables, &source, &o, &message), ERR_INVALID);
    const char *rest = strncmp(message, path, strlen(path)) == 0 ? message + strlen(path) : message;
    assert_string_equal(rest, wanted);
    assert_null(o.address); /* cleared */
    assert_int_equal(o.threads, 0);
}

static void test_defaults(void **state) {
    (void)state;
    struct options o;
    parse_ok(NULL, NULL, &o);
    assert_string_equal(o.address, "127.0.0.1");
    assert_string_equal(o.keys, "");
    assert_int_equal(o.threads, 2);
    assert_int_equal(o.any, -5);
    assert_true(o.rate == 0.5);
    assert_false(o.fast);
    assert_int_equal(o.wait_ms, 250);
    assert_int_equal(o.memory, 65536);
    config_free(tables, &o);
    assert_null(o.address);
    config_free(tables, &o);
}

static void test_file(void **state) {
    (void)state;
    struct options o;
    parse_ok("# comment\n; comment\n[feedd]\naddress = host=db port=5 ; why\n  threads=64\n fast : YES\n\n"
             "[fanoutd]\nunknown = fine\nthreads = many\n[cache]\nwait = 1m\nmemory = 8G\n",
             NULL, &o);
    assert_string_equal(o.address, "host=db port=5");
    assert_int_equal(o.threads, 64);
    assert_true(o.fast);
    assert_int_equal(o.wait_ms, 60000);
    assert_int_equal(o.memory, INT64_C(8) << 30);
    config_free(tables, &o);
}

static void test_long_line(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    buf_add_c(&text, "[auth]\nkeys = ");
    for (int i = 0; i < 5000; i++) buf_add_char(&text, 'k');
    struct options o;
    parse_ok(text.data, NULL, &o);
    assert_int_equal(strlen(o.keys), 5000);
    config_free(tables, &o);
    for (int i = 0; i < 20000; i++) buf_add_char(&text, 'k');
    parse_fails(text.data, NULL, ":2: the line is too long; at most 16382 bytes are allowed");
}

static void test_order_of_sources(void **state) {
    (void)state;
    struct options o;
    const char *sets[] = {"feedd.rate=3", "feedd.rate=4", "feedd.address=a.b=c", NULL};
    setenv("FANFARE_FEEDD_THREADS", "5", 1);
    setenv("FANFARE_FEEDD_RATE", "2", 1);
    parse_ok("[feedd]\nthreads = 4\nrate = 1\nany = 7\n", sets, &o);
    unsetenv("FANFARE_FEEDD_THREADS");
    unsetenv("FANFARE_FEEDD_RATE");
    assert_int_equal(o.any, 7);
    assert_int_equal(o.threads, 5);
    assert_true(o.rate == 4);
    assert_string_equal(o.address, "a.b=c");
    config_free(tables, &o);
}

static void test_units(void **state) {
    (void)state;
    static const struct {
        const char *set;
        int64_t wait_ms, memory;
    } cases[] = {
        {"cache.wait=10ms", 10, 65536}, {"cache.wait=5s", 5000, 65536},    {"cache.memory=1024", 250, 1024},
        {"cache.memory=2k", 250, 2048}, {"cache.memory=3M", 250, 3 << 20},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct options o;
        parse_ok(NULL, (const char *[]){cases[i].set, NULL}, &o);
        assert_int_equal(o.wait_ms, cases[i].wait_ms);
        assert_int_equal(o.memory, cases[i].memory);
        config_free(tables, &o);
    }
}

static void test_wrong_values(void **state) {
    (void)state;
    parse_fails("[feedd]\n\nthreads = many\n", NULL,
                ":3: [feedd] threads: \"many\" is no whole number; give a whole number from 1 to 64");
    parse_fails("[feedd]\nthreads = 65\n", NULL,
                ":2: [feedd] threads: \"65\" is out of range; give a whole number from 1 to 64");
    parse_fails("[feedd]\nthreads =\n", NULL,
                ":2: [feedd] threads: \"\" is no whole number; give a whole number from 1 to 64");
    parse_fails(NULL, "feedd.any=9223372036854775808",
                "--set feedd.any: \"9223372036854775808\" is no whole number; give a whole number");
    parse_fails(NULL, "feedd.rate=nan", "--set feedd.rate: \"nan\" is no number; give a number from 0 to 10");
    parse_fails(NULL, "feedd.rate=0x1", "--set feedd.rate: \"0x1\" is no number; give a number from 0 to 10");
    parse_fails(NULL, "feedd.rate=10.5", "--set feedd.rate: \"10.5\" is out of range; give a number from 0 to 10");
    parse_fails(NULL, "feedd.fast=maybe", "--set feedd.fast: \"maybe\" is neither yes nor no; give yes or no");
    parse_fails(
        NULL, "cache.wait=5",
        "--set cache.wait: \"5\" is no duration; give a duration from 10ms to 1m, such as 250ms, 5s, 10m, 2h or 7d");
    parse_fails(
        NULL, "cache.wait=0",
        "--set cache.wait: \"0\" is out of range; give a duration from 10ms to 1m, such as 250ms, 5s, 10m, 2h or 7d");
    parse_fails(
        NULL, "cache.memory=9G",
        "--set cache.memory: \"9G\" is out of range; give a size in bytes from 1k to 8G, such as 4096, 64k, 16M or 1G");
    parse_fails(
        NULL, "cache.memory=99999999999999G",
        "--set cache.memory: \"99999999999999G\" is no size; give a size in bytes from 1k to 8G, such as 4096, 64k, "
        "16M or 1G");
    parse_fails(NULL, "auth.keys=geheim\xff", "--set auth.keys: the value is not UTF-8; give text in UTF-8");
}

static void test_unknown_names(void **state) {
    (void)state;
    parse_fails("[cache]\nwaits = 5s\n", NULL, ":2: [cache] waits: no such option; [cache] has: wait, memory");
    parse_fails(NULL, "cache.waits=5s", "--set cache.waits: no such option; [cache] has: wait, memory");
    parse_fails(NULL, "cash.wait=5s", "--set cash.wait: no such section; --help-options lists all");
    parse_fails(NULL, "wait", "--set wait: give section.name=value");
    parse_fails(NULL, "wait=a.b", "--set wait: give section.name=value");
    setenv("FANFARE_CACHE_WAITS", "5s", 1);
    setenv("FANFARE_URL", "http://elsewhere", 1); /* no section of that name: not ours */
    parse_fails(NULL, NULL, "environment: FANFARE_CACHE_WAITS: no such option; [cache] has: wait, memory");
    unsetenv("FANFARE_CACHE_WAITS");
    setenv("FANFARE_CACHE_WAIT", "5", 1);
    parse_fails(
        NULL, NULL,
        "environment: FANFARE_CACHE_WAIT: \"5\" is no duration; give a duration from 10ms to 1m, such as 250ms, 5s, "
        "10m, 2h or 7d");
    unsetenv("FANFARE_CACHE_WAIT");
    unsetenv("FANFARE_URL");
}

static void test_wrong_files(void **state) {
    (void)state;
    parse_fails("threads = 4\n", NULL,
                ":1: threads stands outside of a section; write a line such as [feedd] before it");
    parse_fails("[feedd]\nthreads\n", NULL, ":2: neither [section] nor name = value nor a comment; write one of these");
    parse_fails("[feedd\n", NULL, ":1: neither [section] nor name = value nor a comment; write one of these");
    parse_fails("[feedd]\nthreads = 4\nthreads = 5\n", NULL,
                ":3: [feedd] threads: is set a second time (first in line 2); keep one");
    struct options o;
    CLEANUP(mem_free_charp) char *message = NULL;
    struct config_source source = {.file = "/nowhere/feedd.ini"};
    assert_int_equal(config_parse(tables, &source, &o, &message), ERR_INVALID);
    assert_string_equal(message,
                        "/nowhere/feedd.ini: cannot be opened: No such file or directory; give a readable file");
}

static void test_a_wrong_line_is_wrong_though_replaced(void **state) {
    (void)state;
    parse_fails("[feedd]\nthreads = many\n", "feedd.threads=4",
                ":2: [feedd] threads: \"many\" is no whole number; give a whole number from 1 to 64");
}

static void test_required(void **state) {
    (void)state;
    struct options o;
    CLEANUP(mem_free_charp) char *message = NULL;
    struct config_source source = {0};
    assert_int_equal(config_parse(needy, &source, &o, &message), ERR_INVALID);
    assert_string_equal(message,
                        "[auth] needed is not set and has no default; set it in a file (-c) or as FANFARE_AUTH_NEEDED");
    source.sets = (const char *[]){"auth.needed=x", NULL};
    char *none = NULL;
    assert_int_equal(config_parse(needy, &source, &o, &none), ERR_OK);
    assert_string_equal(o.needed, "x");
    config_free(needy, &o);
}

static void test_print(void **state) {
    (void)state;
    struct options o, again;
    const char *sets[] = {"auth.keys=geheim", "cache.wait=1500ms", "feedd.fast=on", NULL};
    parse_ok(NULL, sets, &o);
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    config_print(tables, &o, &text);
    assert_string_equal(text.data, "[feedd]\naddress = 127.0.0.1\nthreads = 2\nany = -5\nrate = 0.5\nfast = yes\n\n"
                                   "[cache]\nwait = 1500ms\nmemory = 64k\n\n[auth]\nkeys = (set)\n");
    parse_ok(text.data, NULL, &again);
    assert_int_equal(again.wait_ms, 1500);
    assert_int_equal(again.memory, 65536);
    assert_true(again.fast);
    config_free(tables, &again);
    config_free(tables, &o);
}

static void test_print_help(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    config_print_help(needy, &text);
    assert_non_null(strstr(text.data, "### [feedd]\n\n| option | default | value | reload | meaning |\n|---|"));
    assert_non_null(strstr(text.data, "| `address` | `127.0.0.1` | text in UTF-8 | no | Where \\| to listen. |\n"));
    assert_non_null(strstr(text.data, "| `any` | `-5` | a whole number | yes | Any number. |\n"));
    assert_non_null(strstr(text.data, "| `needed` | (required) | text in UTF-8 | no | Needed. |\n"));
}

static void test_keep_fixed(void **state) {
    (void)state;
    struct options old, next;
    CLEANUP(buf_fini) struct buf kept = BUF_INIT;
    parse_ok(NULL, NULL, &old);
    parse_ok(NULL, NULL, &next);
    assert_false(config_keep_fixed(tables, &old, &next, &kept));
    assert_int_equal(kept.len, 0);
    config_free(tables, &next);
    parse_ok("[feedd]\naddress = ::1\nthreads = 8\nrate = 2\n", NULL, &next);
    assert_true(config_keep_fixed(tables, &old, &next, &kept));
    assert_string_equal(kept.data, "feedd.address feedd.threads");
    assert_string_equal(next.address, "127.0.0.1");
    assert_ptr_not_equal(next.address, old.address);
    assert_int_equal(next.threads, 2);
    assert_true(next.rate == 2);
    config_free(tables, &old);
    config_free(tables, &next);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_order_of_sources),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_a_wrong_line_is_wrong_though_replaced),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_print_help),
        cmocka_unit_test(test_keep_fixed),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
