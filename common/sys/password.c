/*
 * Password hashing pool.
 *
 *   password_hash/verify -> queue (bounded) -> worker: argon2id -> loop_post -> done() on the asking loop
 *
 * - Memory in use is threads * memory_bytes; that is why the pool is small and the queue bounded.
 * - A job is owned by the queue, then by one worker, then by the loop's task; whoever has it when the pool ends hands
 *   it on, so done() is called exactly once as long as the loop runs.
 * - The password lives only in its job and is wiped by the worker before the answer leaves it, or when the job is
 *   canceled.
 */
#include "common/sys/password.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/list.h"
#include "common/base/mem.h"

_Static_assert(PASSWORD_HASH_MAX >= crypto_pwhash_STRBYTES, "an encoded hash must fit");

struct job {
    struct list link;
    struct loop_task task;
    struct loop *loop; /* (ref: who asked) */
    password_done_fn *done;
    void *ctx;
    enum err err;
    bool match;
    bool verify;
    bool known; /* verify: there is a hash to compare with */
    char hash[PASSWORD_HASH_MAX];
    size_t password_len;
    char password[];
};

struct password_pool {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t work;
    struct list queue;
    unsigned queued, queue_max;
    bool stopping;
    unsigned ops_limit; /* immutable, as below */
    size_t memory_bytes;
    unsigned threads;
    pthread_t *ids; /* (own) */
};

static void complete(struct loop_task *task) {
    struct job *job = CONTAINER_OF(task, struct job, task);
    bool hashed = !job->verify && job->err == ERR_OK;
    job->done(job->ctx, job->err, hashed ? job->hash : "", job->match);
    sodium_memzero(job->hash, sizeof job->hash);
    mem_free(job);
}

static void hand_back(struct job *job, enum err err) {
    sodium_memzero(job->password, job->password_len);
    job->err = err;
    job->task.run = complete;
    loop_post(job->loop, &job->task); /* the job may be gone from here on */
}

/* Compares with the job's hash; the library tells by errno why it did not match. */
static enum err compare(struct job *job) {
    errno = 0;
    job->match = crypto_pwhash_str_verify(job->hash, job->password, job->password_len) == 0;
    if (job->match || errno == EINVAL) return ERR_OK;
    return errno == ENOMEM ? ERR_BUSY : ERR_CORRUPT;
}

/* Argon2id over the job's password. ERR_BUSY: no memory for it at the moment. */
static enum err work_on(const struct password_pool *p, struct job *job) {
    if (job->verify && job->known) return compare(job);
    int failed = crypto_pwhash_str_alg(job->hash, job->password, job->password_len, p->ops_limit, p->memory_bytes,
                                       crypto_pwhash_ALG_ARGON2ID13);
    return failed ? ERR_BUSY : ERR_OK; /* of an unknown user: the same work, and no match */
}

static void *worker(void *arg) {
    struct password_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stopping && list_empty(&p->queue)) pthread_cond_wait(&p->work, &p->lock);
        if (p->stopping) break;
        struct job *job = CONTAINER_OF(list_pop(&p->queue), struct job, link);
        p->queued--;
        pthread_mutex_unlock(&p->lock);
        hand_back(job, work_on(p, job));
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals belong to the main loop: the workers take none. */
static void start_workers(struct password_pool *p) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < p->threads; i++)
        if (pthread_create(&p->ids[i], NULL, worker, p) != 0) abort(); /* at start: no resources, as with memory */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct password_pool *password_pool_new(unsigned threads, unsigned queue_max, unsigned ops_limit, size_t memory_bytes) {
    if (sodium_init() < 0) abort();
    struct password_pool *p = NEW(struct password_pool);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    list_init(&p->queue);
    p->queue_max = queue_max;
    p->ops_limit = ops_limit > crypto_pwhash_OPSLIMIT_MIN ? ops_limit : (unsigned)crypto_pwhash_OPSLIMIT_MIN;
    p->memory_bytes = memory_bytes > crypto_pwhash_MEMLIMIT_MIN ? memory_bytes : crypto_pwhash_MEMLIMIT_MIN;
    p->threads = threads > 0 ? threads : 1;
    p->ids = NEW_ARRAY(pthread_t, p->threads);
    start_workers(p);
    return p;
}

void password_pool_free(struct password_pool **pool) {
    struct password_pool *p = *pool;
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads; i++) pthread_join(p->ids[i], NULL);
    for (struct list *link; (link = list_pop(&p->queue));)
        hand_back(CONTAINER_OF(link, struct job, link), ERR_CANCELED);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    mem_free(p->ids);
    mem_free(p);
    *pool = NULL;
}

static enum err enqueue(struct password_pool *p, struct job *job) {
    pthread_mutex_lock(&p->lock);
    bool room = !p->stopping && p->queued < p->queue_max;
    if (room) {
        list_add_tail(&p->queue, &job->link);
        p->queued++;
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    if (room) return ERR_OK;
    sodium_memzero(job->password, job->password_len);
    mem_free(job);
    return ERR_BUSY;
}

static struct job *job_new(struct loop *loop, struct str password, password_done_fn *done, void *ctx) {
    struct job *job = mem_zalloc(sizeof *job + password.len + 1);
    job->loop = loop;
    job->done = done;
    job->ctx = ctx;
    job->password_len = password.len;
    if (password.len > 0) memcpy(job->password, password.data, password.len);
    return job;
}

enum err password_hash(struct password_pool *p, struct loop *loop, struct str password, password_done_fn *done,
                       void *ctx) {
    return enqueue(p, job_new(loop, password, done, ctx));
}

enum err password_verify(struct password_pool *p, struct loop *loop, struct str password, const char *hash,
                         password_done_fn *done, void *ctx) {
    if (hash && strlen(hash) >= PASSWORD_HASH_MAX) return ERR_INVALID;
    struct job *job = job_new(loop, password, done, ctx);
    job->verify = true;
    job->known = hash != NULL;
    if (hash) memcpy(job->hash, hash, strlen(hash) + 1);
    return enqueue(p, job);
}
