/*
 * Redis link, see redis_link.h. Plain sockets: "host:port", "[v6]:port" or "unix:/path". A host name is resolved by
 * getaddrinfo, which blocks: placements name addresses.
 *
 * Invariants
 * - The descriptor is open in CONNECTING and CONNECTED, and closed before anybody is told of its end.
 * - Callbacks may close the link and so end its owner: every function that the loop calls enters and leaves, and the
 *   memory is released by the last to leave.
 * - down() is called once for each attempt, after state, descriptor and `out` are already clean, so that what it calls
 *   finds a link that takes nothing.
 */
#include "common/store/redis_link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

enum {
    LINK_READ_BYTES = 16 * 1024, /* one reply buffer; also what keeps the parser's own compaction cheap */
    LINK_READS_A_TURN = 16,      /* then others have their turn */
    LINK_OUT_KEEP_BYTES = 4 * 1024 * 1024,
    LINK_DELAY_MIN_MS = 50,
    LINK_DELAY_MAX_MS = 1000,
};

static void link_enter(struct redis_link *l) {
    l->depth++;
}

static void link_leave(struct redis_link *l) {
    if (--l->depth == 0 && l->state == REDIS_LINK_CLOSED) l->ops->release(l);
}

static int connect_unix(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(to.sun_path)) return -1;
    memcpy(to.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int connect_first(const struct addrinfo *list) {
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) return fd;
        close(fd);
    }
    return -1;
}

static int connect_tcp(const char *address) {
    const char *colon = strrchr(address, ':');
    if (!colon) return -1;
    const char *host = address;
    size_t host_len = (size_t)(colon - address);
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    }
    CLEANUP(mem_free_charp) char *name = mem_strndup(host, host_len);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    if (getaddrinfo(name, colon + 1, &hints, &list) != 0) return -1;
    int fd = connect_first(list);
    freeaddrinfo(list);
    return fd;
}

static void link_start(struct redis_link *l) {
    int fd = strncmp(l->address, "unix:", 5) == 0 ? connect_unix(l->address + 5) : connect_tcp(l->address);
    if (fd < 0) {
        /* Told through the timer, never from within the caller. */
        l->state = REDIS_LINK_BROKEN;
        loop_timer_start(l->loop, &l->timer, 0);
        return;
    }
    l->watch.fd = fd;
    l->watch.events = LOOP_WRITE;
    l->state = REDIS_LINK_CONNECTING;
    loop_watch(l->loop, &l->watch);
    loop_timer_start(l->loop, &l->timer, l->connect_timeout_ms);
}

static void link_drop_fd(struct redis_link *l) {
    loop_timer_stop(&l->timer);
    loop_unwatch(&l->watch);
    if (l->watch.fd >= 0) close(l->watch.fd);
    l->watch.fd = -1;
    buf_clear(&l->out);
    l->out_at = 0;
}

static uint64_t retry_delay_ms(unsigned failures) {
    uint64_t delay = (uint64_t)LINK_DELAY_MIN_MS << (failures > 5 ? 5 : failures > 0 ? failures - 1 : 0);
    if (delay > LINK_DELAY_MAX_MS) delay = LINK_DELAY_MAX_MS;
    return delay / 2 + random_u64() % (delay / 2 + 1);
}

static void link_down(struct redis_link *l) {
    link_drop_fd(l);
    l->state = REDIS_LINK_DOWN;
    bool at_once = l->ops->down(l) && l->failures == 0;
    if (l->state == REDIS_LINK_CLOSED) return;
    if (at_once) {
        link_start(l);
        return;
    }
    l->failures++;
    loop_timer_start(l->loop, &l->timer, retry_delay_ms(l->failures));
}

static void link_fire(struct loop_timer *t) {
    struct redis_link *l = CONTAINER_OF(t, struct redis_link, timer);
    link_enter(l);
    if (l->state == REDIS_LINK_DOWN)
        link_start(l);
    else if (l->state == REDIS_LINK_CONNECTING || l->state == REDIS_LINK_BROKEN)
        link_down(l);
    link_leave(l);
}

static void link_connected(struct redis_link *l) {
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(l->watch.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        link_down(l);
        return;
    }
    loop_timer_stop(&l->timer);
    l->state = REDIS_LINK_CONNECTED;
    loop_watch_events(&l->watch, LOOP_READ);
    l->ops->connected(l);
}

/* True while the connection that the call began with is still there. */
static bool link_read(struct redis_link *l) {
    char bytes[LINK_READ_BYTES];
    for (int i = 0; i < LINK_READS_A_TURN; i++) {
        ssize_t n = read(l->watch.fd, bytes, sizeof(bytes));
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n <= 0) {
            link_down(l);
            return false;
        }
        l->ops->bytes(l, bytes, (size_t)n);
        if (l->state != REDIS_LINK_CONNECTED) return false;
        if ((size_t)n < sizeof(bytes)) return true;
    }
    return true;
}

/* Writes what is there. False: the connection broke. */
static bool link_write(struct redis_link *l) {
    while (l->out_at < l->out.len) {
        ssize_t n = send(l->watch.fd, l->out.data + l->out_at, l->out.len - l->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            if (!(l->watch.events & LOOP_WRITE)) loop_watch_events(&l->watch, LOOP_READ | LOOP_WRITE);
            return true;
        }
        if (n < 0) return false;
        l->out_at += (size_t)n;
    }
    if (l->watch.events & LOOP_WRITE) loop_watch_events(&l->watch, LOOP_READ);
    l->out_at = 0;
    if (l->out.cap > LINK_OUT_KEEP_BYTES)
        buf_fini(&l->out);
    else
        buf_clear(&l->out);
    return true;
}

static void link_ready(struct loop_watch *w, uint32_t events) {
    struct redis_link *l = CONTAINER_OF(w, struct redis_link, watch);
    link_enter(l);
    bool there = true;
    if (l->state == REDIS_LINK_CONNECTING) {
        link_connected(l);
    } else if (l->state == REDIS_LINK_CONNECTED) {
        if (events & (LOOP_READ | LOOP_ERROR)) there = link_read(l);
        if (there && (events & LOOP_WRITE) && !link_write(l)) link_down(l);
    }
    link_leave(l);
}

static uint64_t link_flush(struct loop_hook *h) {
    struct redis_link *l = CONTAINER_OF(h, struct redis_link, hook);
    /* While the kernel is full, the watch goes on. */
    if (l->state != REDIS_LINK_CONNECTED || l->out.len == 0 || (l->watch.events & LOOP_WRITE)) return UINT64_MAX;
    if (link_write(l)) return UINT64_MAX;
    /* Owners are told from the loop's timers, not from a hook: a hook may not be removed while hooks run. */
    l->state = REDIS_LINK_BROKEN;
    loop_timer_start(l->loop, &l->timer, 0);
    return 0;
}

void redis_link_open(struct redis_link *l, struct loop *loop, const char *address, uint64_t connect_timeout_ms,
                     const struct redis_link_ops *ops) {
    memset(l, 0, sizeof(*l));
    l->ops = ops;
    l->loop = loop;
    l->address = mem_strdup(address);
    l->connect_timeout_ms = connect_timeout_ms;
    l->watch.fd = -1;
    l->watch.ready = link_ready;
    l->timer.fire = link_fire;
    l->hook.run = link_flush;
    loop_hook_add(loop, &l->hook);
    link_start(l);
}

void redis_link_close(struct redis_link *l) {
    link_enter(l);
    link_drop_fd(l);
    loop_hook_del(&l->hook);
    buf_fini(&l->out);
    mem_free(l->address);
    l->address = NULL;
    l->state = REDIS_LINK_CLOSED;
    link_leave(l);
}

void redis_link_break(struct redis_link *l) {
    if (l->state == REDIS_LINK_DOWN || l->state == REDIS_LINK_CLOSED) return;
    link_enter(l);
    link_down(l);
    link_leave(l);
}

void redis_link_hold(struct redis_link *l) {
    link_enter(l);
}

void redis_link_unhold(struct redis_link *l) {
    link_leave(l);
}

void redis_link_alive(struct redis_link *l) {
    l->failures = 0;
}

bool redis_link_open_for_writes(const struct redis_link *l) {
    return l->state == REDIS_LINK_CONNECTED || (l->state == REDIS_LINK_CONNECTING && l->failures == 0);
}
