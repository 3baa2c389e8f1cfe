/*
 * empty: what HTTP alone costs. A child process (fanfare-bench empty-server) answers a fixed body from the same server
 * library, as many threads as feedd; the same stream of requests as `read` loads it; only the child's CPU counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cpu.h"
#include "bench/readers.h"
#include "common/base/mem.h"
#include "common/sys/http.h"

enum { THREADS_MAX = 64, HEADER_BYTES = 200 };

/* ---- The server ---- */

struct server {
    pthread_t thread;
    struct loop *loop;
    struct http_server *http;
    char *body; /* (ref) */
    size_t size;
};

static void handle(void *ctx, struct http_request *r) {
    struct server *s = ctx;
    CLEANUP(buf_fini) struct buf body = BUF_INIT;
    buf_add(&body, s->body, s->size);
    http_respond(r, 200, "application/json", &body);
}

static void *serve(void *ctx) {
    loop_run(((struct server *)ctx)->loop);
    return NULL;
}

/* Serves until its parent ends or SIGTERM. The port goes to stdout. */
static int run_servers(uint64_t size, unsigned threads, uint16_t port) {
    static struct server servers[THREADS_MAX];
    char *body = mem_alloc(size + 1);
    memset(body, 'x', size);
    for (unsigned i = 0; i < threads; i++) {
        struct server *s = &servers[i];
        CLEANUP(mem_free_charp) char *message = NULL;
        *s = (struct server){.loop = loop_new(), .body = body, .size = size};
        const struct http_options o = {.address = "127.0.0.1",
                                       .port = port,
                                       .max_connections = 10000,
                                       .idle_timeout_s = 30,
                                       .max_body = 4096,
                                       .handle = handle,
                                       .ctx = s};
        if (http_server_new(s->loop, &o, &s->http, &message) != ERR_OK) return bench_fail("%s", message);
        port = http_server_port(s->http);
    }
    for (unsigned i = 1; i < threads; i++) {
        int e = pthread_create(&servers[i].thread, NULL, serve, &servers[i]);
        if (e) return bench_fail("no thread: %s", strerror(e));
    }
    printf("%u\n", port);
    fflush(stdout);
    serve(&servers[0]);
    return EXIT_MEASURED;
}

int command_empty_server(struct bench *b, int argc, char **argv) {
    (void)b;
    uint64_t size = 8000, threads = 2, port = 0;
    const struct arg table[] = {{"--size", ARG_NUMBER, &size, 0, 16e6, NULL, "bytes of body (8000)"},
                                {"--threads", ARG_NUMBER, &threads, 1, THREADS_MAX, NULL, "each with a loop (2)"},
                                {"--port", ARG_NUMBER, &port, 0, 65535, NULL, "on 127.0.0.1; 0: any (0)"}};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    return run_servers(size, (unsigned)threads, (uint16_t)port);
}

/* ---- The load ---- */

static bool start_child(uint64_t size, uint64_t threads, pid_t *ret_pid, uint16_t *ret_port) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        bench_fail("no pipe: %m");
        return false;
    }
    char size_text[24], threads_text[24];
    snprintf(size_text, sizeof(size_text), "%llu", (unsigned long long)size);
    snprintf(threads_text, sizeof(threads_text), "%llu", (unsigned long long)threads);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "fanfare-bench", "empty-server", "--size", size_text, "--threads", threads_text,
              (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    char line[16] = "";
    uint64_t port = 0;
    bool good = pid > 0 && f && fgets(line, sizeof(line), f) && str_u64(str_of(line, strcspn(line, "\n")), &port) &&
                port <= UINT16_MAX;
    if (f) fclose(f);
    if (!good) bench_fail("the empty server did not start");
    *ret_pid = pid;
    *ret_port = (uint16_t)port;
    return good;
}

static bool next(void *ctx, struct stream_request *to) {
    to->method = "GET";
    buf_add_c(&to->target, "/v1/me/feed?limit=20");
    buf_add_str(&to->headers, *(struct str *)ctx); /* as long as a real token */
    return true;
}

static bool measure(struct stream_options *o, const struct cpu_pids *pids, uint64_t size, uint64_t threads) {
    struct stream *stream = NULL;
    uint64_t seconds = o->run_ms;
    o->run_ms = 1000;
    if (!stream_run(o, "warming", &stream)) return false;
    stream_free(&stream);
    o->run_ms = seconds;
    struct cpu_usage before, after;
    bool good = cpu_sample(pids, &before) && stream_run(o, "empty", &stream) && cpu_sample(pids, &after);
    if (good) {
        struct cpu_usage cpu = cpu_since(&before, &after);
        const struct tally *t = stream_tally(stream);
        double used = cpu.seconds[CPU_FEEDD];
        struct report r;
        report_init(&r);
        tally_report(&r, t);
        report_real(&r, "cpu_seconds_server", used);
        report_real(&r, "cpu_seconds_load", cpu.self);
        report_figure(&r, "http_empty_per_cpu_s", used > 0 ? (double)t->good / used : 0,
                      "a handler on the same HTTP library answering a fixed body of %llu bytes at once, %llu threads, "
                      "closed loop, %u "
                      "connections, %.0f s; CPU of the server process only",
                      (unsigned long long)size, (unsigned long long)threads, o->connections,
                      (double)stream_elapsed_ns(stream) / 1e9);
        report_print(&r);
        report_fini(&r);
    }
    stream_free(&stream);
    return good;
}

int command_empty(struct bench *b, int argc, char **argv) {
    (void)b;
    uint64_t size = 8000, threads = 2, connections = 64, seconds = 10;
    const struct arg table[] = {{"--size", ARG_NUMBER, &size, 0, 16e6, NULL, "bytes of body (8000)"},
                                {"--threads", ARG_NUMBER, &threads, 1, THREADS_MAX, NULL, "of the server (2)"},
                                {"--connections", ARG_NUMBER, &connections, 1, 10000, NULL, "at most (64)"},
                                {"--seconds", ARG_NUMBER, &seconds, 1, 3600, NULL, "of measuring (10)"}};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    pid_t pid = 0;
    uint16_t port = 0;
    bool good = start_child(size, threads, &pid, &port);
    if (good) {
        struct cpu_pids pids = {.list = {{CPU_FEEDD, (int)pid}}, .count = 1};
        char url[64], header[HEADER_BYTES + 32];
        snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
        snprintf(header, sizeof(header), "Authorization: Bearer %0*d\r\n", HEADER_BYTES, 0);
        struct str headers = str_c(header);
        struct loop *loop = loop_new();
        struct stream_options o = {.loop = loop,
                                   .url = url,
                                   .connections = (unsigned)connections,
                                   .run_ms = seconds * 1000,
                                   .next = next,
                                   .ctx = &headers};
        good = measure(&o, &pids, size, threads);
        loop_free(&loop);
    }
    if (pid > 0) {
        kill(pid, SIGTERM);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
