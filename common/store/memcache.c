/*
 * memcached on store threads, see memcache.h. The only user of libmemcached.
 *
 *   loop A --batches of one turn--> +--------+   one thread a server:
 *   loop B ------------------------>| server |   all waiting gets -> one multi-get
 *                                   +--------+   adds, swaps, deletes one by one
 *   loop A <--- finished batches of one round, one posted task a loop ---+
 *
 * Invariants
 * - The memcached_st is touched by its own thread only.
 * - After any failure the handle is thrown away: an answer that comes late can never be read as the answer to something
 *   else.
 * - After a failure everything that waits, and what comes within the next BREAK_MS, is refused without waiting again;
 *   then one batch tries (half open). So nobody waits behind a dead server for longer than about two timeouts.
 * - Writes of one loop are done in the order in which they were submitted; a get may pass them (the cache protocol
 *   waits for an answer before a step that depends on it).
 */
#include "common/store/memcache.h"

#include <libmemcached/memcached.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/cache_envelope.h"

enum {
    BREAK_MS = 100,
    MULTI_GET_KEYS_MAX = 1000,
    TTL_MAX_S = 30 * 24 * 3600, /* beyond, memcached reads an absolute time */
    BATCH_ARENA_BYTES = 4096,   /* holds a page's share of a node: ten keys and their values */
    SCRATCH_BYTES = 64 * 1024,
    SPARE_BATCHES_MAX = 64, /* a node of a loop */
};

struct batch {
    struct batch *next;
    struct memcache_node *node;
    enum memcache_kind kind;
    size_t count;
    struct cache_op *ops; /* with keys and values in the arena */
    struct cache_result *results;
    cache_done_fn *done;
    void *ctx;
    struct arena arena;
};

struct batch_list {
    struct batch *first, *last;
    size_t ops;
};

struct server {
    struct server *next;
    struct memcache *owner; /* (ref) */
    char *address;          /* (own) */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct batch_list waiting; /* under lock */
    bool sleeping, stop;       /* under lock */
    /* The thread's own. */
    memcached_st *handle;       /* (own) NULL after a failure */
    memcached_result_st result; /* lives with the handle */
    struct arena scratch;       /* of the multi-get in hand */
    uint64_t broken_until_ms;
};

struct memcache_node {
    struct memcache_node *next;
    struct server *server; /* (ref: memcache) */
    struct loop *loop;
    struct loop_hook hook;   /* linked while this turn's batches are not handed over */
    struct batch_list turn;  /* the loop's */
    struct batch_list spare; /* the loop's: for reuse, with their memory */
    size_t spare_count;
    struct loop_task task;      /* posted while finished is not empty */
    struct batch_list finished; /* under lock */
    pthread_mutex_t lock;
};

struct memcache {
    uint64_t timeout_ms;
    unsigned max_waiting;
    pthread_mutex_t lock; /* of the lists */
    struct server *servers;
    struct memcache_node *nodes;
};

static void batches_add(struct batch_list *l, struct batch *b) {
    b->next = NULL;
    if (l->last)
        l->last->next = b;
    else
        l->first = b;
    l->last = b;
    l->ops += b->count;
}

static void batches_append(struct batch_list *l, struct batch_list more) {
    if (!more.first) return;
    if (l->last)
        l->last->next = more.first;
    else
        l->first = more.first;
    l->last = more.last;
    l->ops += more.ops;
}

static struct batch *batches_pop(struct batch_list *l) {
    struct batch *b = l->first;
    if (!b) return NULL;
    l->first = b->next;
    if (!l->first) l->last = NULL;
    l->ops -= b->count;
    return b;
}

static void batch_free(struct batch *b) {
    arena_fini(&b->arena);
    mem_free(b);
}

/* The store thread writes values into a batch, the loop ends it: without reuse each page would free in one thread what
 * was allocated in the other. */
static struct batch *batch_take(struct memcache_node *n) {
    struct batch *b = batches_pop(&n->spare);
    if (b) {
        n->spare_count--;
        struct arena arena = b->arena;
        *b = (struct batch){.arena = arena};
        return b;
    }
    b = NEW(struct batch);
    arena_init(&b->arena, BATCH_ARENA_BYTES);
    return b;
}

static void batch_done(struct batch *b) {
    struct memcache_node *n = b->node;
    b->done(b->ctx, b->results, b->count);
    if (n->spare_count >= SPARE_BATCHES_MAX) {
        batch_free(b);
        return;
    }
    arena_reset(&b->arena);
    b->count = 0;
    n->spare_count++;
    batches_add(&n->spare, b);
}

static void batch_fail(struct batch *b, enum err err) {
    for (size_t i = 0; i < b->count; i++) b->results[i] = (struct cache_result){.err = err};
}

/* ---- Back to the loop ---- */

static void node_run(struct loop_task *t) {
    struct memcache_node *n = CONTAINER_OF(t, struct memcache_node, task);
    pthread_mutex_lock(&n->lock);
    struct batch_list finished = n->finished;
    n->finished = (struct batch_list){0};
    pthread_mutex_unlock(&n->lock);
    for (struct batch *b; (b = batches_pop(&finished));) batch_done(b);
}

/* One post wakes the loop for all that finish until it runs. */
static void batch_finish(struct batch *b) {
    struct memcache_node *n = b->node;
    pthread_mutex_lock(&n->lock);
    bool first = n->finished.first == NULL;
    batches_add(&n->finished, b);
    pthread_mutex_unlock(&n->lock);
    if (first) loop_post(n->loop, &n->task);
}

/* ---- The server's thread ---- */

static memcached_st *handle_new(const char *address, uint64_t timeout_ms) {
    memcached_st *h = memcached_create(NULL);
    if (!h) abort();
    memcached_return_t rc;
    if (strncmp(address, "unix:", 5) == 0) {
        rc = memcached_server_add_unix_socket(h, address + 5);
    } else {
        const char *colon = strrchr(address, ':');
        size_t host_len = colon ? (size_t)(colon - address) : strlen(address);
        CLEANUP(mem_free_charp) char *host = mem_strndup(address, host_len);
        uint64_t port = 0; /* the library's default */
        bool good = !colon || (str_u64(str_c(colon + 1), &port) && port <= UINT16_MAX);
        rc = good ? memcached_server_add(h, host, (in_port_t)port) : MEMCACHED_INVALID_ARGUMENTS;
    }
    if (rc != MEMCACHED_SUCCESS) {
        memcached_free(h);
        return NULL;
    }
    const struct {
        memcached_behavior_t name;
        uint64_t value;
    } settings[] = {
        {MEMCACHED_BEHAVIOR_TCP_NODELAY, 1},
        {MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, timeout_ms},
        {MEMCACHED_BEHAVIOR_POLL_TIMEOUT, timeout_ms},
        {MEMCACHED_BEHAVIOR_SND_TIMEOUT, timeout_ms * 1000},
        {MEMCACHED_BEHAVIOR_RCV_TIMEOUT, timeout_ms * 1000},
        {MEMCACHED_BEHAVIOR_SERVER_FAILURE_LIMIT, 0},
        {MEMCACHED_BEHAVIOR_REMOVE_FAILED_SERVERS, 0},
        {MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 0},
        {MEMCACHED_BEHAVIOR_DEAD_TIMEOUT, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) memcached_behavior_set(h, settings[i].name, settings[i].value);
    return h;
}

static void handle_drop(struct server *s) {
    if (!s->handle) return;
    memcached_result_free(&s->result);
    memcached_free(s->handle);
    s->handle = NULL;
}

static void server_broke(struct server *s) {
    handle_drop(s);
    s->broken_until_ms = clock_mono_ms() + BREAK_MS;
}

static bool server_usable(struct server *s) {
    if (s->broken_until_ms) {
        if (clock_mono_ms() < s->broken_until_ms) return false;
        s->broken_until_ms = 0;
    }
    if (s->handle) return true;
    s->handle = handle_new(s->address, s->owner->timeout_ms);
    if (s->handle)
        memcached_result_create(s->handle, &s->result); /* its buffer is made with the handle's allocator */
    else
        server_broke(s);
    return s->handle != NULL;
}

static enum err err_of(memcached_return_t rc) {
    switch (rc) {
    case MEMCACHED_SUCCESS:
    case MEMCACHED_DELETED:
    case MEMCACHED_STORED:
        return ERR_OK;
    case MEMCACHED_NOTFOUND:
    case MEMCACHED_NOTSTORED:
    case MEMCACHED_DATA_EXISTS: /* cas: changed since; add: there is one */
    case MEMCACHED_E2BIG:       /* larger than an item may be: not stored */
    case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
        return ERR_NOT_FOUND;
    case MEMCACHED_TIMEOUT:
    case MEMCACHED_IN_PROGRESS:
        return ERR_TIMEOUT;
    case MEMCACHED_CONNECTION_FAILURE:
    case MEMCACHED_HOST_LOOKUP_FAILURE:
    case MEMCACHED_CONNECTION_SOCKET_CREATE_FAILURE:
        return ERR_REFUSED;
    case MEMCACHED_PROTOCOL_ERROR:
    case MEMCACHED_UNKNOWN_READ_FAILURE:
    case MEMCACHED_PARTIAL_READ:
        return ERR_PROTOCOL;
    case MEMCACHED_SERVER_ERROR:
    case MEMCACHED_CLIENT_ERROR:
        return ERR_BACKEND;
    default:
        return ERR_LOST;
    }
}

static time_t expiration(uint64_t ttl_ms) {
    uint64_t s = (ttl_ms + 999) / 1000;
    return (time_t)(s > TTL_MAX_S ? TTL_MAX_S : s);
}

/* Where the answers of a multi-get go: operation i of the batches in order. */
struct wanted {
    const struct cache_op *op;
    struct cache_result *result;
    struct batch *batch;
    uint64_t cas;
};

/*
 * Reads one multi-get's answers, which come in the order of the keys; a key asked for twice is answered twice.
 * A value is copied into its batch.
 */
static enum err fetch_all(struct server *s, struct wanted *wanted, size_t count) {
    memcached_return_t rc;
    size_t at = 0;
    while (memcached_fetch_result(s->handle, &s->result, &rc)) {
        struct str key = str_of(memcached_result_key_value(&s->result), memcached_result_key_length(&s->result));
        while (at < count && !str_eq(key, wanted[at].op->key)) at++;
        if (at == count) return ERR_PROTOCOL;
        struct wanted *w = &wanted[at++];
        size_t len = memcached_result_length(&s->result);
        w->result->err = ERR_OK;
        w->result->value = str_of(arena_dup(&w->batch->arena, memcached_result_value(&s->result), len), len);
        w->cas = memcached_result_cas(&s->result);
    }
    return rc == MEMCACHED_END || rc == MEMCACHED_NOTFOUND || rc == MEMCACHED_SUCCESS ? ERR_OK : err_of(rc);
}

/* Asks with "gets" only where the answer's cas is needed: it costs both sides more than a value that is just read. */
static enum err multi_get(struct server *s, struct wanted *wanted, size_t count, bool with_cas) {
    const char **keys = ARENA_ARRAY(&s->scratch, const char *, count);
    size_t *lens = ARENA_ARRAY(&s->scratch, size_t, count);
    memcached_behavior_set(s->handle, MEMCACHED_BEHAVIOR_SUPPORT_CAS, with_cas);
    for (size_t i = 0; i < count; i++) {
        keys[i] = wanted[i].op->key.data;
        lens[i] = wanted[i].op->key.len;
        *wanted[i].result = (struct cache_result){.err = ERR_NOT_FOUND};
    }
    memcached_return_t rc = memcached_mget(s->handle, keys, lens, count);
    enum err err = rc == MEMCACHED_SUCCESS ? fetch_all(s, wanted, count) : err_of(rc);
    if (err == ERR_NOT_FOUND) err = ERR_LOST; /* no answer to a multi-get as a whole */
    if (err) server_broke(s);
    return err;
}

static size_t want_all(struct batch *b, struct wanted *wanted) {
    for (size_t i = 0; i < b->count; i++)
        wanted[i] = (struct wanted){.op = &b->ops[i], .result = &b->results[i], .batch = b};
    return b->count;
}

/* All gets of the list, at most MULTI_GET_KEYS_MAX keys at a time (a larger batch goes alone). */
static void run_gets(struct server *s, struct batch_list *gets) {
    while (gets->first) {
        struct batch_list round = {0};
        do batches_add(&round, batches_pop(gets));
        while (gets->first && round.ops + gets->first->count <= MULTI_GET_KEYS_MAX);
        enum err err = ERR_REFUSED;
        if (server_usable(s)) {
            struct wanted *wanted = ARENA_ARRAY(&s->scratch, struct wanted, round.ops);
            size_t n = 0;
            for (struct batch *b = round.first; b; b = b->next) n += want_all(b, wanted + n);
            err = multi_get(s, wanted, n, false);
            arena_reset(&s->scratch);
        }
        for (struct batch *b; (b = batches_pop(&round));) {
            if (err) batch_fail(b, err);
            batch_finish(b);
        }
    }
}

static memcached_return_t write_one(struct server *s, enum memcache_kind kind, const struct cache_op *op,
                                    uint64_t cas) {
    const char *key = op->key.data, *value = op->value.data;
    time_t ttl = expiration(op->ttl_ms);
    switch (kind) {
    case MEMCACHE_ADD:
        return memcached_add(s->handle, key, op->key.len, value, op->value.len, ttl, 0);
    case MEMCACHE_SWAP:
        return memcached_cas(s->handle, key, op->key.len, value, op->value.len, ttl, 0, cas);
    default:
        return memcached_delete(s->handle, key, op->key.len, 0);
    }
}

static enum err run_write(struct server *s, enum memcache_kind kind, const struct cache_op *op, uint64_t cas) {
    if (!server_usable(s)) return ERR_REFUSED;
    enum err err = err_of(write_one(s, kind, op, cas));
    if (kind == MEMCACHE_DELETE && err == ERR_NOT_FOUND) return ERR_OK;
    if (err && err != ERR_NOT_FOUND) server_broke(s);
    return err;
}

/* Swap: what is there now with its cas; only over our own placeholder. */
static void run_swap(struct server *s, struct batch *b) {
    if (!server_usable(s)) {
        batch_fail(b, ERR_REFUSED);
        return;
    }
    struct wanted *wanted = ARENA_ARRAY(&s->scratch, struct wanted, b->count);
    enum err err = multi_get(s, wanted, want_all(b, wanted), true);
    if (err) batch_fail(b, err);
    for (size_t i = 0; !err && i < b->count; i++) {
        struct cache_result *r = &b->results[i];
        bool ours = r->err == ERR_OK && envelope_is_placeholder_of(r->value, b->ops[i].nonce);
        r->err = ours ? run_write(s, MEMCACHE_SWAP, &b->ops[i], wanted[i].cas) : ERR_NOT_FOUND;
        r->value = str_of(NULL, 0);
    }
    arena_reset(&s->scratch);
}

static void run_batch(struct server *s, struct batch *b) {
    if (b->kind == MEMCACHE_SWAP) {
        run_swap(s, b);
    } else {
        for (size_t i = 0; i < b->count; i++)
            b->results[i] = (struct cache_result){.err = run_write(s, b->kind, &b->ops[i], 0)};
    }
    batch_finish(b);
}

/* Gets first: readers wait for them, and what they find can only be older. */
static void run_round(struct server *s, struct batch_list *all) {
    struct batch_list gets = {0}, writes = {0};
    for (struct batch *b; (b = batches_pop(all));) batches_add(b->kind == MEMCACHE_GET ? &gets : &writes, b);
    run_gets(s, &gets);
    for (struct batch *b; (b = batches_pop(&writes));) run_batch(s, b);
}

static void *server_main(void *arg) {
    struct server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        if (!s->waiting.first) {
            s->sleeping = true;
            pthread_cond_wait(&s->wake, &s->lock);
            s->sleeping = false;
            continue;
        }
        struct batch_list all = s->waiting;
        s->waiting = (struct batch_list){0};
        pthread_mutex_unlock(&s->lock);
        run_round(s, &all);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    handle_drop(s);
    return NULL;
}

/* ---- From the loop ---- */

/* Hands this turn's batches over: one lock and at most one wake-up for all of them. */
static uint64_t node_flush(struct loop_hook *h) {
    struct memcache_node *n = CONTAINER_OF(h, struct memcache_node, hook);
    struct server *s = n->server;
    loop_hook_del(&n->hook);
    pthread_mutex_lock(&s->lock);
    bool full = s->waiting.ops && s->waiting.ops + n->turn.ops > s->owner->max_waiting;
    if (!full) batches_append(&s->waiting, n->turn);
    if (s->sleeping) pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    struct batch_list refused = full ? n->turn : (struct batch_list){0};
    n->turn = (struct batch_list){0};
    for (struct batch *b; (b = batches_pop(&refused));) {
        batch_fail(b, ERR_BUSY);
        batch_finish(b);
    }
    return UINT64_MAX;
}

void memcache_submit(struct memcache_node *n, enum memcache_kind kind, const struct cache_op *ops, size_t count,
                     cache_done_fn *done, void *ctx) {
    struct batch *b = batch_take(n);
    b->node = n;
    b->kind = kind;
    b->count = count;
    b->done = done;
    b->ctx = ctx;
    b->ops = ARENA_ARRAY(&b->arena, struct cache_op, count);
    b->results = ARENA_ARRAY(&b->arena, struct cache_result, count);
    for (size_t i = 0; i < count; i++) {
        b->ops[i] = ops[i];
        b->ops[i].key.data = arena_dup(&b->arena, ops[i].key.data, ops[i].key.len);
        if (ops[i].value.len) b->ops[i].value.data = arena_dup(&b->arena, ops[i].value.data, ops[i].value.len);
    }
    if (!n->turn.first) loop_hook_add(n->loop, &n->hook);
    batches_add(&n->turn, b);
}

/* ---- Making and ending ---- */

static struct server *server_new(struct memcache *m, const char *address) {
    struct server *s = NEW(struct server);
    s->owner = m;
    s->address = mem_strdup(address);
    arena_init(&s->scratch, SCRATCH_BYTES);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    sigset_t all, before;
    sigfillset(&all); /* signals, SIGPIPE too, are none of a store thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&s->thread, NULL, server_main, s) != 0) abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->next = m->servers;
    m->servers = s;
    return s;
}

static struct server *server_of(struct memcache *m, const char *address) {
    for (struct server *s = m->servers; s; s = s->next)
        if (strcmp(s->address, address) == 0) return s;
    return server_new(m, address);
}

struct memcache *memcache_new(uint64_t timeout_ms, unsigned max_waiting) {
    struct memcache *m = NEW(struct memcache);
    m->timeout_ms = timeout_ms;
    m->max_waiting = max_waiting;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

struct memcache_node *memcache_node(struct memcache *m, struct loop *loop, const char *address) {
    pthread_mutex_lock(&m->lock);
    struct memcache_node *n = m->nodes;
    while (n && (n->loop != loop || strcmp(n->server->address, address) != 0)) n = n->next;
    if (!n) {
        n = NEW(struct memcache_node);
        n->server = server_of(m, address);
        n->loop = loop;
        n->hook.run = node_flush;
        n->task.run = node_run;
        pthread_mutex_init(&n->lock, NULL);
        n->next = m->nodes;
        m->nodes = n;
    }
    pthread_mutex_unlock(&m->lock);
    return n;
}

static void cancel(struct batch_list *l, bool known) {
    for (struct batch *b; (b = batches_pop(l));) {
        if (!known) batch_fail(b, ERR_CANCELED);
        b->done(b->ctx, b->results, b->count);
        batch_free(b);
    }
}

static void server_free(struct server *s) {
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    cancel(&s->waiting, false);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    arena_fini(&s->scratch);
    mem_free(s->address);
    mem_free(s);
}

void memcache_free(struct memcache **mp) {
    struct memcache *m = *mp;
    if (!m) return;
    *mp = NULL;
    for (struct server *s = m->servers, *next; s; s = next) {
        next = s->next;
        server_free(s);
    }
    for (struct memcache_node *n = m->nodes, *next; n; n = next) {
        next = n->next;
        cancel(&n->turn, false);
        cancel(&n->finished, true); /* done, but the loop did not run any more */
        for (struct batch *b; (b = batches_pop(&n->spare));) batch_free(b);
        pthread_mutex_destroy(&n->lock);
        mem_free(n);
    }
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}
