/*
 * The skeleton's life, seen from outside: a small daemon runs in a child process, the test talks to it as an operator
 * does (signals, the admin endpoint, the notify socket, its log, its exit code).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/service/service.h"
#include "common/sys/log.h"

/* The daemon */

struct options {
    struct service_options service;
    char *mode;
    int64_t level;
    int64_t drain_steps;
};

static const struct option table[] = {
    SERVICE_OPTIONS("toyd"),
    {"toyd", "mode", OPTION_STRING, offsetof(struct options, mode), "normal", 0, 0, false, false, "What to try."},
    {"toyd", "level", OPTION_INT, offsetof(struct options, level), "1", 0, 100, false, true, "A number."},
    {"toyd", "drain_steps", OPTION_INT, offsetof(struct options, drain_steps), "3", 0, 1000000, false, false, "Steps."},
    {0},
};
static const struct option *const tables[] = {table, NULL};

struct toy {
    int ready_asked, drain_steps;
    pthread_t thread;
};

static const char *mode_of(struct service *s) {
    return ((const struct options *)s->options)->mode;
}

static void *stop_from_a_thread(void *arg) {
    service_stop(arg);
    service_stop(arg);
    return NULL;
}

static enum err toy_start(struct service *s, char **ret_message) {
    if (strcmp(mode_of(s), "unstartable") == 0) {
        *ret_message = mem_strdup("the cellar is full; make room");
        return ERR_IO;
    }
    s->state = NEW(struct toy);
    struct toy *toy = s->state;
    if (strcmp(mode_of(s), "threaded") == 0) pthread_create(&toy->thread, NULL, stop_from_a_thread, s);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur != limit.rlim_max) log_error("the limit was not raised");
    if (strcmp(mode_of(s), "pipe") == 0) {
        int ends[2];
        if (pipe(ends) != 0) return ERR_IO;
        close(ends[0]);
        if (write(ends[1], "x", 1) < 0 && errno == EPIPE) log_info("survived the pipe");
        close(ends[1]);
    }
    return ERR_OK;
}

static bool toy_ready(struct service *s, struct buf *why_not) {
    struct toy *toy = s->state;
    if (strcmp(mode_of(s), "failing") == 0) service_fail(s, "the roof is gone");
    if (strcmp(mode_of(s), "slow") == 0 || toy->ready_asked++ == 0) {
        buf_add_c(why_not, "warming up");
        return false;
    }
    return true;
}

static void toy_reload(struct service *s, const void *new_options) {
    const struct options *old = s->options, *next = new_options;
    log_info("level %d to %d mode %s", (int)old->level, (int)next->level, next->mode);
}

static bool toy_drain(struct service *s) {
    struct toy *toy = s->state;
    return toy->drain_steps++ == ((const struct options *)s->options)->drain_steps;
}

static void toy_stop(struct service *s) {
    struct toy *toy = s->state;
    log_info("stopped after %d steps", toy->drain_steps);
    if (strcmp(mode_of(s), "threaded") == 0) pthread_join(toy->thread, NULL);
    mem_free(toy);
}

static const struct service_def toyd = {
    .name = "toyd",
    .tables = tables,
    .options_size = sizeof(struct options),
    .start = toy_start,
    .ready = toy_ready,
    .reload = toy_reload,
    .drain = toy_drain,
    .stop = toy_stop,
};

/* The operator */

static char dir[] = "/tmp/service_test.XXXXXX";
static char log_path[64], out_path[64], ini_path[64];
static pid_t child;

static char *read_whole(const char *path) {
    struct buf text = BUF_INIT;
    char piece[4096];
    FILE *f = fopen(path, "r");
    buf_add_c(&text, "");
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;) buf_add(&text, piece, n);
    if (f) fclose(f);
    return buf_take(&text, &(size_t){0});
}

static void write_whole(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void spawn(const char *const *args) {
    unlink(log_path);
    fflush(NULL);
    child = fork();
    if (child != 0) return;
    const char *argv[16] = {"toyd"};
    int argc = 1;
    for (; *args; args++) argv[argc++] = *args;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 256 ? limit.rlim_max : 256;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (!freopen(log_path, "w", stderr) || !freopen(out_path, "w", stdout)) _exit(99);
    exit(service_main(argc, (char **)argv, &toyd));
}
#define SPAWN(...) spawn((const char *const[]){__VA_ARGS__, NULL})

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Until the log holds what; at most 10 s. */
static void await(const char *what) {
    for (int i = 0; i < 2000; i++) {
        CLEANUP(mem_free_charp) char *log = read_whole(log_path);
        if (strstr(log, what)) return;
        pause_ms(5);
    }
    CLEANUP(mem_free_charp) char *log = read_whole(log_path);
    fail_msg("no \"%s\" in the log:\n%s", what, log);
}

static void assert_ends(int code) {
    int status = 0;
    for (int i = 0; i < 2000 && waitpid(child, &status, WNOHANG) == 0; i++) pause_ms(5);
    CLEANUP(mem_free_charp) char *log = read_whole(log_path);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code) fail_msg("status %x instead of %d:\n%s", status, code, log);
}

static void assert_output(const char *path, const char *has) {
    CLEANUP(mem_free_charp) char *text = read_whole(path);
    if (!strstr(text, has)) fail_msg("no \"%s\" in:\n%s", has, text);
}

static void assert_not_logged(const char *what) {
    CLEANUP(mem_free_charp) char *log = read_whole(log_path);
    if (strstr(log, what)) fail_msg("\"%s\" in:\n%s", what, log);
}

static char *ask(const char *request) {
    CLEANUP(mem_free_charp) char *log = read_whole(log_path);
    const char *port = strstr(log, " port=");
    assert_non_null(port);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port + 6))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    CLEANUP(mem_free_charp) char *whole = mem_printf("%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", request);
    assert_int_equal(write(fd, whole, strlen(whole)), strlen(whole));
    struct buf answer = BUF_INIT;
    char piece[4096];
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;) buf_add(&answer, piece, (size_t)n);
    close(fd);
    assert_true(answer.len > 0);
    return buf_take(&answer, &(size_t){0});
}

static void assert_answer(const char *request, const char *status, const char *has) {
    CLEANUP(mem_free_charp) char *answer = ask(request);
    CLEANUP(mem_free_charp) char *line = mem_printf("HTTP/1.1 %s", status);
    if (strncmp(answer, line, strlen(line)) != 0 || !strstr(answer, has))
        fail_msg("%s: not %s with \"%s\":\n%s", request, status, has, answer);
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(dir)) return -1;
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    snprintf(out_path, sizeof out_path, "%s/out", dir);
    snprintf(ini_path, sizeof ini_path, "%s/toyd.ini", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(log_path);
    unlink(out_path);
    unlink(ini_path);
    return rmdir(dir);
}

/* A failed test must leave no daemon behind. */
static int end_child(void **state) {
    (void)state;
    if (child > 0 && waitpid(child, NULL, WNOHANG) == 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    child = 0;
    return 0;
}

/* The tests */

static void test_life(void **state) {
    (void)state;
    SPAWN("--set", "toyd.drain_timeout=5s");
    await("toyd: ready\n");
    assert_answer("GET /healthz", "200", "\r\n\r\nok\n");
    assert_answer("GET /readyz", "200", "\r\n\r\nok\n");
    assert_answer("GET /metrics", "200", "\nfanfare_build_info{version=\"0.1.0\"} 1\n");
    assert_answer("GET /metrics", "200", "text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_answer("GET /metrics", "200", "\nprocess_cpu_seconds_total 0.");
    assert_answer("GET /metrics", "200", "# TYPE process_open_fds gauge\nprocess_open_fds ");
    assert_answer("GET /metrics", "200", "\nprocess_resident_memory_bytes ");
    assert_answer("GET /", "404", "application/problem+json");
    assert_answer("DELETE /healthz", "404", "\"status\":404");
    CLEANUP(mem_free_charp) char *head = ask("HEAD /metrics");
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
    kill(child, SIGTERM);
    assert_ends(0);
    assert_output(log_path, "draining");
    assert_output(log_path, "stopped after 4 steps");
    assert_output(log_path, "ended exit_code=0");
    assert_not_logged("the limit was not raised");
}

static void test_not_ready_while_warming_up_and_draining(void **state) {
    (void)state;
    SPAWN("--set", "toyd.mode=slow", "--set", "toyd.drain_steps=1000000");
    await("not ready yet: warming up");
    assert_answer("GET /readyz", "503", "not ready: warming up\n");
    assert_answer("GET /healthz", "200", "ok\n");
    kill(child, SIGINT);
    await("draining");
    assert_answer("GET /readyz", "503", "not ready: draining\n");
    assert_answer("GET /healthz", "200", "ok\n");
    kill(child, SIGTERM); /* again: at once */
    assert_ends(0);
    assert_output(log_path, "SIGTERM again, ending at once");
    assert_not_logged("stopped after");
}

static void test_drain_timeout(void **state) {
    (void)state;
    SPAWN("--set", "toyd.drain_steps=1000000", "--set", "toyd.drain_timeout=60ms");
    await("toyd: ready\n");
    kill(child, SIGTERM);
    assert_ends(0);
    assert_output(log_path, "drain_timeout has passed");
    assert_output(log_path, "stopped after");
}

static void test_reload(void **state) {
    (void)state;
    write_whole(ini_path, "[toyd]\nlevel = 1\nmode = normal\n[other]\nx = y\n");
    SPAWN("-c", ini_path);
    await("toyd: ready\n");
    kill(child, SIGHUP);
    await("reload: nothing changed");
    write_whole(ini_path, "[toyd]\nlevel = many\n");
    kill(child, SIGHUP);
    await("toyd.ini:2: [toyd] level: \"many\" is no whole number");
    write_whole(ini_path, "[toyd]\nlevel = 7\nmode = changed\nlog_level = debug\n");
    kill(child, SIGHUP);
    await("only a restart changes: toyd.mode");
    await("level 1 to 7 mode normal");
    await("reload: options changed");
    write_whole(ini_path, "[toyd]\nlevel = 8\nlog_level = loud\n");
    kill(child, SIGHUP);
    await("log_level: \"loud\" is no level");
    write_whole(ini_path, "[toyd]\nlevel = 9\n");
    kill(child, SIGHUP);
    await("level 7 to 9 mode normal");
    kill(child, SIGTERM);
    assert_ends(0);
}

static void test_failures(void **state) {
    (void)state;
    SPAWN("--set", "toyd.mode=unstartable");
    assert_ends(3);
    assert_output(log_path, "could not start: the cellar is full; make room");
    SPAWN("--set", "toyd.mode=failing");
    assert_ends(1);
    assert_output(log_path, "cannot go on: the roof is gone");
    assert_output(log_path, "ended exit_code=1");
    SPAWN("--set", "toyd.admin_address=256.0.0.1");
    assert_ends(3);
    assert_output(log_path, "could not start: ");
}

static void test_stop_from_a_thread_and_pipes(void **state) {
    (void)state;
    SPAWN("--set", "toyd.mode=threaded", "--set", "toyd.admin_address=");
    assert_ends(0);
    assert_output(log_path, "stopped after 4 steps");
    SPAWN("--set", "toyd.mode=pipe");
    await("survived the pipe");
    await("toyd: ready\n");
    kill(child, SIGTERM);
    assert_ends(0);
}

static void test_wrong_arguments(void **state) {
    (void)state;
    SPAWN("--nonsense");
    assert_ends(2);
    assert_output(log_path, "toyd: --nonsense is not understood\nusage: toyd ");
    SPAWN("-c");
    assert_ends(2);
    assert_output(log_path, "toyd: -c needs a value\n");
    SPAWN("extra");
    assert_ends(2);
    assert_output(log_path, "toyd: extra is not understood\n");
    SPAWN("--set", "toyd.level=200");
    assert_ends(2);
    assert_output(log_path, "toyd: --set toyd.level: \"200\" is out of range; give a whole number from 0 to 100\n");
    SPAWN("--set", "toyd.log_level=loud", "--check");
    assert_ends(2);
}

static void test_questions(void **state) {
    (void)state;
    SPAWN("--version");
    assert_ends(0);
    assert_output(out_path, "toyd 0.1.0\n");
    SPAWN("--help");
    assert_ends(0);
    assert_output(out_path, "usage: toyd ");
    SPAWN("--help-options");
    assert_ends(0);
    assert_output(out_path, "| `drain_timeout` | `10s` | a duration from 0ms to 10m");
    SPAWN("--print-config", "--set", "toyd.level=5");
    assert_ends(0);
    assert_output(out_path, "level = 5\n");
    SPAWN("--check");
    assert_ends(0);
    assert_output(out_path, "the options are valid");
}

static void test_notify(void **state) {
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct timeval limit = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    SPAWN("--set", "toyd.admin_address=");
    unsetenv("NOTIFY_SOCKET");
    char state_text[64] = "";
    assert_int_equal(recv(fd, state_text, sizeof state_text, 0), 7);
    assert_memory_equal(state_text, "READY=1", 7);
    kill(child, SIGTERM);
    assert_int_equal(recv(fd, state_text, sizeof state_text, 0), 10);
    assert_memory_equal(state_text, "STOPPING=1", 10);
    assert_ends(0);
    close(fd);
    unlink(address.sun_path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_life, end_child),
        cmocka_unit_test_teardown(test_not_ready_while_warming_up_and_draining, end_child),
        cmocka_unit_test_teardown(test_drain_timeout, end_child),
        cmocka_unit_test_teardown(test_reload, end_child),
        cmocka_unit_test_teardown(test_failures, end_child),
        cmocka_unit_test_teardown(test_stop_from_a_thread_and_pipes, end_child),
        cmocka_unit_test_teardown(test_wrong_arguments, end_child),
        cmocka_unit_test_teardown(test_questions, end_child),
        cmocka_unit_test_teardown(test_notify, end_child),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
