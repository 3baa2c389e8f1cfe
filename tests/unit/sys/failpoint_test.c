/*
 * Failpoints: counts, actions, the file. Built with failpoints whatever the rest is built with, by compiling the room's
 * own source into this program.
 */
#ifndef FANFARE_FAILPOINTS
#define FANFARE_FAILPOINTS
#endif
#include "common/sys/failpoint.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/wait.h>

static char dir[] = "/tmp/failpoint_test.XXXXXX";
static char file[64], gate[64];

/* The environment is read once, at the first hit of the process: all of its points are set here. */
static int arm(void **unused) {
    (void)unused;
    if (!mkdtemp(dir)) return -1;
    snprintf(file, sizeof file, "%s/points", dir);
    snprintf(gate, sizeof gate, "%s/gate", dir);
    setenv("FANFARE_FAILPOINTS",
           "env.error=error; env.late=error@3 ;env.twice=error*2;env.window=error@2*2;env.abort=abort@2;env.off=off;",
           1);
    setenv("FANFARE_FAILPOINT_FILE", file, 1);
    return 0;
}

static int disarm(void **unused) {
    (void)unused;
    unlink(file);
    unlink(gate);
    return rmdir(dir);
}

static void touch(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void pause_until_it_looks_again(void) {
    nanosleep(&(struct timespec){.tv_nsec = 8000000}, NULL); /* it does so each 5 ms */
}

static void write_points(const char *text) {
    touch(file, text);
    pause_until_it_looks_again();
}

static void assert_hits(const char *name, const char *pattern) {
    for (const char *p = pattern; *p; p++) {
        bool hit = FAILPOINT(name);
        if (hit != (*p == 'x')) fail_msg("%s: hit %d of %s", name, (int)(p - pattern) + 1, pattern);
    }
}

static void test_environment(void **unused) {
    (void)unused;
    assert_hits("env.error", "xxxx");
    assert_hits("env.late", "..xxx");
    assert_hits("env.twice", "xx..");
    assert_hits("env.window", ".xx..");
    assert_hits("env.off", "...");
    assert_hits("not.armed", "...");
    assert_hits("env.err", "..");
}

static void test_abort(void **unused) {
    (void)unused;
    pid_t pid = fork();
    if (pid == 0) {
        failpoint_hit("env.abort");
        failpoint_hit("env.abort");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 137);
}

static void test_file(void **unused) {
    (void)unused;
    assert_hits("file.a", "..");
    write_points("# a comment\nfile.a=error*3\n\n  file.b = error\nenv.error=off\n");
    assert_hits("file.a", "xx");
    assert_hits("file.b", "..");    /* "file.b " is not its name: the line was refused */
    assert_hits("env.error", ".."); /* the file is stronger */
    write_points("file.a=error*3\nfile.c=error@2\n");
    assert_hits("file.a", "x.."); /* went on counting */
    assert_hits("file.c", ".x");
    assert_hits("env.error", "x");
    write_points("file.a=error*4\n");
    assert_hits("file.a", "xxxx."); /* another specification: from zero */
    unlink(file);
    nanosleep(&(struct timespec){.tv_nsec = 8000000}, NULL);
    assert_hits("file.a", "..");
}

/* The same length within one tick of the file's time must be seen, too. */
static void test_quick_change(void **unused) {
    (void)unused;
    for (int i = 0; i < 10; i++) {
        pause_until_it_looks_again();
        touch(file, "quick.a=error");
        assert_hits("quick.a", "x"); /* looked at right after it was written */
        assert_hits("quick.b", ".");
        write_points("quick.b=error");
        assert_hits("quick.a", ".");
        assert_hits("quick.b", "x");
    }
}

static void *open_gate(void *arg) {
    (void)arg;
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    bool other = failpoint_hit("env.error"); /* while the main thread pauses */
    unlink(gate);
    return other ? &gate : NULL;
}

static void test_pause(void **unused) {
    (void)unused;
    char text[128];
    touch(gate, "");
    snprintf(text, sizeof text, "slow=pause:%s\n", gate);
    write_points(text);
    pthread_t id;
    assert_int_equal(pthread_create(&id, NULL, open_gate, NULL), 0);
    assert_hits("slow", ".");
    assert_int_not_equal(access(gate, F_OK), 0); /* it waited */
    void *other;
    pthread_join(id, &other);
    assert_non_null(other);
    assert_hits("slow", "."); /* no gate: no wait */
}

static void test_what_is_misspelt(void **unused) {
    (void)unused;
    static const char *const wrong[] = {"a",         "a=",       "=error",   "a=err",       "a=error@0",  "a=error@x",
                                        "a=error*0", "a=error*", "a=pause:", "a=pause:rel", "a=abort now"};
    struct point p;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (parse_point(wrong[i], strlen(wrong[i]), &p)) fail_msg("%s was taken", wrong[i]);
    assert_true(parse_point("a=error@2*3", 11, &p));
    assert_int_equal(p.from, 2);
    assert_int_equal(p.times, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment),  cmocka_unit_test(test_abort), cmocka_unit_test(test_file),
        cmocka_unit_test(test_quick_change), cmocka_unit_test(test_pause), cmocka_unit_test(test_what_is_misspelt),
    };
    return cmocka_run_group_tests(tests, arm, disarm);
}
