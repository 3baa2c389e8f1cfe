/*
 * The life of a daemon.
 *
 *   arguments -> options -> log, limits, signals, metrics, admin endpoint -> start -> loop -> (drain) -> stop
 *
 *   SIGTERM, SIGINT, service_stop   draining: drain() each 10 ms until it is true or drain_timeout has passed
 *   the same signal again           the process ends there and then, as kill -9 would end it: nothing is lost by that
 *   SIGHUP                          options are read again; a file that is wrong changes nothing
 *   service_fail                    no drain: stop, exit code 1
 *
 * Options structs that a reload replaced live until the end, so that a pointer into one never dangles; one is kept for
 * each reload that changed something, by an operator's hand.
 */
#include "common/service/service.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/service/admin.h"
#include "common/service/arguments.h"
#include "common/service/process_metrics.h"
#include "common/service/version.h"
#include "common/sys/http.h"
#include "common/sys/log.h"

enum { EXIT_ENDED, EXIT_FAILED, EXIT_BAD_OPTIONS, EXIT_NO_START };
enum { DRAIN_STEP_MS = 10, READY_STEP_MS = 50 };

struct options_copy {
    struct options_copy *older; /* (own) */
    void *options;              /* (own) */
};

struct running {
    struct service s;
    const struct service_def *def;
    const struct arguments *arguments;
    struct options_copy *options; /* (own) newest first; s.options is the newest */
    struct process_metrics *process_metrics;
    struct http_server *admin; /* (own) NULL: none */
    struct loop_timer timer;   /* until ready: asks whether; then idle; when draining: asks whether done */
    struct loop_task stop_task;
    uint64_t drain_until_ms;
    atomic_bool draining, failed, stop_posted;
};

static struct running *running_of(const struct service *s) {
    return CONTAINER_OF(s, struct running, s);
}

static const struct service_options *common_options(const struct service *s) {
    return s->options; /* every options struct begins with it */
}

/* Options */

static enum err read_options(const struct service_def *def, const struct arguments *arguments, void **ret,
                             char **ret_message) {
    void *options = mem_zalloc(def->options_size);
    struct config_source source = {.file = arguments->file, .sets = arguments->sets};
    enum err err = config_parse(def->tables, &source, options, ret_message);
    if (err) {
        mem_free(options);
        return err;
    }
    const struct service_options *common = options;
    if (log_parse_level(common->log_level) < 0) {
        *ret_message = mem_printf("log_level: \"%s\" is no level; give debug, info, warn or error", common->log_level);
        config_free(def->tables, options);
        mem_free(options);
        return ERR_INVALID;
    }
    *ret = options;
    return ERR_OK;
}

static void keep_options(struct running *r, void *options) {
    struct options_copy *copy = NEW(struct options_copy);
    *copy = (struct options_copy){.older = r->options, .options = options};
    r->options = copy;
    r->s.options = options;
    log_set_level((enum log_level)log_parse_level(common_options(&r->s)->log_level));
}

static void free_options(const struct service_def *def, void *options) {
    config_free(def->tables, options);
    mem_free(options);
}

static void on_reload(void *ctx, int signo) {
    (void)signo;
    struct running *r = ctx;
    CLEANUP(mem_free_charp) char *message = NULL;
    void *next;
    if (read_options(r->def, r->arguments, &next, &message)) {
        log_error("reload refused, the options stay as they are: %s", message);
        return;
    }
    CLEANUP(buf_fini) struct buf kept = BUF_INIT;
    bool differs = config_keep_fixed(r->def->tables, r->s.options, next, &kept);
    if (kept.len > 0) log_warn("reload leaves options as they are that only a restart changes: %s", kept.data);
    if (!differs) {
        free_options(r->def, next);
        log_info("reload: nothing changed");
        return;
    }
    if (r->def->reload) r->def->reload(&r->s, next);
    keep_options(r, next);
    log_info("reload: options changed");
}

/* Ready */

/* Tells systemd, as sd_notify would; without NOTIFY_SOCKET nobody wants to know. */
static void notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof address.sun_path) return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, size);
    if (sent < 0) log_warn("NOTIFY_SOCKET does not take messages: %m");
    close(fd);
}

void service_reason(struct buf *why_not, const char *reason) {
    if (why_not->len) buf_add_c(why_not, "; ");
    buf_add_c(why_not, reason);
}

static bool is_ready(struct service *s, struct buf *why_not) {
    const struct service_def *def = running_of(s)->def;
    if (service_draining(s)) {
        buf_add_c(why_not, "draining");
        return false;
    }
    return !def->ready || def->ready(s, why_not);
}

static void check_ready(struct loop_timer *timer) {
    struct running *r = CONTAINER_OF(timer, struct running, timer);
    CLEANUP(buf_fini) struct buf why_not = BUF_INIT;
    if (!is_ready(&r->s, &why_not)) {
        if (LOG_EVERY_MS(5000)) log_info("not ready yet: %s", why_not.len > 0 ? why_not.data : "no reason given");
        loop_timer_start(r->s.loop, timer, READY_STEP_MS);
        return;
    }
    log_info("ready");
    notify("READY=1");
}

bool service_endpoint(struct service *s, struct str path, unsigned *ret_status, const char **ret_content_type,
                      struct buf *to) {
    if (str_eq_c(path, "/metrics")) {
        *ret_status = 200;
        *ret_content_type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_render(s->metrics, to);
        return true;
    }
    if (!str_eq_c(path, "/healthz") && !str_eq_c(path, "/readyz")) return false;
    CLEANUP(buf_fini) struct buf why_not = BUF_INIT;
    bool good = str_eq_c(path, "/healthz") || is_ready(s, &why_not);
    *ret_status = good ? 200 : 503;
    *ret_content_type = "text/plain; charset=utf-8";
    if (good)
        buf_add_c(to, "ok\n");
    else
        buf_addf(to, "not ready: %s\n", why_not.len > 0 ? why_not.data : "no reason given");
    return true;
}

/* The end */

static void check_drained(struct loop_timer *timer) {
    struct running *r = CONTAINER_OF(timer, struct running, timer);
    bool drained = !r->def->drain || r->def->drain(&r->s);
    if (!drained && loop_now_ms(r->s.loop) < r->drain_until_ms) {
        loop_timer_start(r->s.loop, timer, DRAIN_STEP_MS);
        return;
    }
    if (!drained) log_warn("drain_timeout has passed, ending with work in flight");
    loop_stop(r->s.loop);
}

static void begin_drain(struct running *r) {
    if (atomic_exchange(&r->draining, true)) return;
    log_info("draining");
    notify("STOPPING=1");
    r->drain_until_ms = loop_now_ms(r->s.loop) + (uint64_t)common_options(&r->s)->drain_timeout_ms;
    r->timer.fire = check_drained;
    loop_timer_start(r->s.loop, &r->timer, 0);
}

static void on_stop_signal(void *ctx, int signo) {
    struct running *r = ctx;
    if (service_draining(&r->s)) {
        log_warn("%s again, ending at once", signo == SIGINT ? "SIGINT" : "SIGTERM");
        _exit(EXIT_ENDED);
    }
    begin_drain(r);
}

static void run_stop_task(struct loop_task *t) {
    begin_drain(CONTAINER_OF(t, struct running, stop_task));
}

void service_stop(struct service *s) {
    struct running *r = running_of(s);
    if (!atomic_exchange(&r->stop_posted, true)) loop_post(s->loop, &r->stop_task);
}

void service_fail(struct service *s, const char *why) {
    log_error("cannot go on: %s", why);
    atomic_store(&running_of(s)->failed, true);
    loop_stop(s->loop);
}

bool service_draining(const struct service *s) {
    return atomic_load(&running_of(s)->draining);
}

/* The beginning */

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) log_warn("the limit of open files cannot be raised: %m");
}

static void take_signals(struct running *r) {
    signal(SIGPIPE, SIG_IGN);
    loop_on_signal(r->s.loop, SIGHUP, on_reload, r);
    loop_on_signal(r->s.loop, SIGTERM, on_stop_signal, r);
    loop_on_signal(r->s.loop, SIGINT, on_stop_signal, r);
}

/* From here on a signal ends the process, however long stop() takes. */
static void give_signals_back(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

static enum err start_all(struct running *r, char **ret_message) {
    const struct service_options *o = common_options(&r->s);
    if (o->admin_address[0] != '\0') {
        enum err err = admin_new(&r->s, o->admin_address, (uint16_t)o->admin_port, &r->admin, ret_message);
        if (err) return err;
        log_info("admin endpoint address=%s port=%u", o->admin_address, http_server_port(r->admin));
    }
    return r->def->start(&r->s, ret_message);
}

static void free_running(struct running *r) {
    http_server_free(&r->admin);
    metrics_free(&r->s.metrics);
    process_metrics_free(&r->process_metrics);
    loop_free(&r->s.loop);
    for (struct options_copy *copy = r->options, *older; copy; copy = older) {
        older = copy->older;
        free_options(r->def, copy->options);
        mem_free(copy);
    }
}

static int run(const struct service_def *def, const struct arguments *arguments, void *options) {
    struct running r = {.def = def, .arguments = arguments, .stop_task.run = run_stop_task};
    keep_options(&r, options);
    raise_descriptor_limit();
    r.s.loop = loop_new();
    take_signals(&r);
    r.s.metrics = metrics_new();
    r.process_metrics = process_metrics_new(r.s.metrics);
    log_info("starting version=%s pid=%d", FANFARE_VERSION, (int)getpid());
    CLEANUP(mem_free_charp) char *message = NULL;
    enum err err = start_all(&r, &message);
    int code = EXIT_NO_START;
    if (err) {
        log_error("could not start: %s", message ? message : err_text(err));
    } else {
        r.timer.fire = check_ready;
        loop_timer_start(r.s.loop, &r.timer, 0);
        if (!atomic_load(&r.failed)) loop_run(r.s.loop);
        loop_timer_stop(&r.timer);
        give_signals_back();
        def->stop(&r.s);
        code = atomic_load(&r.failed) ? EXIT_FAILED : EXIT_ENDED;
        log_info("ended exit_code=%d", code);
    }
    free_running(&r);
    return code;
}

/* What is asked for on stdout instead of running. */
static int print(const struct service_def *def, const struct arguments *arguments, const void *options) {
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    switch (arguments->mode) {
    case MODE_HELP:
        arguments_print_usage(def->name, &text);
        break;
    case MODE_HELP_OPTIONS:
        config_print_help(def->tables, &text);
        break;
    case MODE_VERSION:
        buf_addf(&text, "%s %s\n", def->name, FANFARE_VERSION);
        break;
    case MODE_PRINT_CONFIG:
        config_print(def->tables, options, &text);
        break;
    case MODE_CHECK:
        buf_addf(&text, "%s: the options are valid\n", def->name);
        break;
    case MODE_RUN:
        break;
    }
    fwrite(text.data, 1, text.len, stdout);
    return fflush(stdout) == 0 ? EXIT_ENDED : EXIT_FAILED;
}

static int run_or_print(const struct service_def *def, const struct arguments *arguments) {
    if (arguments->mode == MODE_HELP || arguments->mode == MODE_HELP_OPTIONS || arguments->mode == MODE_VERSION)
        return print(def, arguments, NULL);
    CLEANUP(mem_free_charp) char *message = NULL;
    void *options;
    if (read_options(def, arguments, &options, &message)) {
        fprintf(stderr, "%s: %s\n", def->name, message);
        return EXIT_BAD_OPTIONS;
    }
    if (arguments->mode == MODE_RUN) return run(def, arguments, options);
    int code = print(def, arguments, options);
    free_options(def, options);
    return code;
}

int service_main(int argc, char **argv, const struct service_def *def) {
    log_init(def->name);
    CLEANUP(mem_free_charp) char *message = NULL;
    struct arguments arguments;
    if (arguments_parse(argc, argv, &arguments, &message)) {
        CLEANUP(buf_fini) struct buf usage = BUF_INIT;
        arguments_print_usage(def->name, &usage);
        fprintf(stderr, "%s: %s\n%s", def->name, message, usage.data);
        return EXIT_BAD_OPTIONS;
    }
    int code = run_or_print(def, &arguments);
    arguments_fini(&arguments);
    return code;
}
