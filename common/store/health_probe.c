/*
 * Probes: PING to Redis, version to memcached, over a plain non-blocking socket: no client library stands between the
 * question and what the server says.
 *
 * The connection is kept between questions. A server that is stopped keeps accepting in its kernel: a new connection
 * for every question would fill its backlog.
 */
#include "common/store/health_probe.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const struct dialogue {
    const char *question, *answer;
} DIALOGUES[] = {[NODE_REDIS] = {"PING\r\n", "+PONG\r\n"}, [NODE_MEMCACHED] = {"version\r\n", "VERSION "}};

void health_probe_close(struct health_probe *p) {
    loop_unwatch(&p->watch);
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    p->connecting = p->asked = false;
    p->answer_len = 0;
}

static void answer(struct health_probe *p, bool good) {
    p->asked = false;
    p->answer_len = 0;
    if (!good) health_probe_close(p);
    p->answered(p, good);
}

/* The question is a few bytes on a socket with an empty buffer: it goes whole, or the socket is broken. */
static bool send_question(struct health_probe *p) {
    const char *question = DIALOGUES[p->kind].question;
    size_t length = strlen(question);
    return send(p->fd, question, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

static void receive(struct health_probe *p) {
    ssize_t got = recv(p->fd, p->answer + p->answer_len, sizeof p->answer - p->answer_len, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || !p->asked) {
        if (p->asked)
            answer(p, false);
        else
            health_probe_close(p); /* gone, or it speaks without being asked */
        return;
    }
    p->answer_len += (size_t)got;
    bool line = memchr(p->answer, '\n', p->answer_len);
    if (!line && p->answer_len < sizeof p->answer) return;
    const char *wanted = DIALOGUES[p->kind].answer;
    size_t length = strlen(wanted);
    answer(p, line && p->answer_len >= length && memcmp(p->answer, wanted, length) == 0);
}

static void ready(struct loop_watch *w, uint32_t events) {
    struct health_probe *p = (struct health_probe *)(void *)((char *)w - offsetof(struct health_probe, watch));
    if (!p->connecting) {
        receive(p);
        return;
    }
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0 || (events & LOOP_ERROR)) {
        answer(p, false);
        return;
    }
    p->connecting = false;
    loop_watch_events(w, LOOP_READ);
    if (!send_question(p)) answer(p, false);
}

static int begin_connect(int family, const struct sockaddr *address, socklen_t length, bool *ret_connecting) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    *ret_connecting = false;
    if (connect(fd, address, length) == 0) return fd;
    if (errno == EINPROGRESS) {
        *ret_connecting = true;
        return fd;
    }
    close(fd);
    return -1;
}

static int connect_unix(const char *path, bool *ret_connecting) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    return begin_connect(AF_UNIX, (struct sockaddr *)&address, sizeof address, ret_connecting);
}

static int connect_tcp(const char *address, bool *ret_connecting) {
    char host[NODE_ADDRESS_MAX];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host) return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) return -1;
    int fd = begin_connect(found->ai_family, found->ai_addr, found->ai_addrlen, ret_connecting);
    freeaddrinfo(found);
    return fd;
}

static bool open_connection(struct health_probe *p) {
    bool is_unix = strncmp(p->address, "unix:", 5) == 0;
    p->fd = is_unix ? connect_unix(p->address + 5, &p->connecting) : connect_tcp(p->address, &p->connecting);
    if (p->fd < 0) return false;
    p->watch = (struct loop_watch){.fd = p->fd, .events = p->connecting ? LOOP_WRITE : LOOP_READ, .ready = ready};
    loop_watch(p->loop, &p->watch);
    return true;
}

bool health_probe_ask(struct health_probe *p) {
    if (p->fd < 0 && !open_connection(p)) return false;
    p->asked = true;
    p->asked_ms = loop_now_ms(p->loop);
    p->answer_len = 0;
    if (p->connecting || send_question(p)) return true;
    health_probe_close(p);
    return false;
}

void health_probe_init(struct health_probe *p, struct loop *loop, enum node_kind kind, const char *address,
                       void (*answered)(struct health_probe *p, bool good)) {
    *p = (struct health_probe){.loop = loop, .kind = kind, .address = address, .answered = answered, .fd = -1};
}
