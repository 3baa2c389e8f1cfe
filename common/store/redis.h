/*
 * Redis connection on an event loop (redis.c is the only user of hiredis). Commands queue up and are flushed once an
 * iteration. Reconnects with back-off (50 ms .. 1 s, jitter). An answer slower than timeout_ms closes the connection:
 * what was in flight on it gets ERR_TIMEOUT, later calls ERR_REFUSED until it is up again.
 */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/sys/loop.h"

struct redis;
struct redis_reply; /* valid during the callback */
enum redis_type { REDIS_NIL, REDIS_STRING, REDIS_STATUS, REDIS_ERROR_REPLY, REDIS_INT, REDIS_LIST };
enum redis_type redis_type(const struct redis_reply *r);
struct str redis_str(const struct redis_reply *r); /* string, status, error text */
int64_t redis_int(const struct redis_reply *r);
size_t redis_len(const struct redis_reply *r);
const struct redis_reply *redis_at(const struct redis_reply *r, size_t index);

/* Exactly once a command. ERR_OK: any reply but an error. ERR_BACKEND: the server answered an error (r has its text).
 * Else r is NULL. */
typedef void redis_done_fn(void *ctx, enum err err, const struct redis_reply *r);

/* address: "host:port" or "unix:/path". max_pending: commands in flight before ERR_BUSY. */
struct redis *redis_new(struct loop *loop, const char *address, uint64_t timeout_ms, unsigned max_pending);
void redis_free(struct redis **r); /* completes what is open with ERR_CANCELED */
bool redis_up(const struct redis *r);
struct loop *redis_loop(const struct redis *r);
/* done may be NULL (fire and forget). Never calls done before it returned; an error return means done is not called. */
enum err redis_command(struct redis *r, redis_done_fn *done, void *ctx, size_t argc, const struct str *argv);
/* A command already in RESP form. */
enum err redis_command_raw(struct redis *r, redis_done_fn *done, void *ctx, struct str resp);
/* Lua by EVALSHA, falling back to EVAL once on NOSCRIPT. script: static storage. */
struct redis_script { /* its address is its identity; each connection keeps the digest and whether the server knows it
                       */
    const char *source;
};
enum err redis_eval(struct redis *r, struct redis_script *s, redis_done_fn *done, void *ctx, size_t key_count,
                    size_t argc, const struct str *argv /* keys, then arguments */);

/* Connections of one loop to any number of servers, by address: made on first use. */
struct redis_set;
struct redis_set *redis_set_new(struct loop *loop, uint64_t timeout_ms, unsigned max_pending);
void redis_set_free(struct redis_set **s);
struct redis *redis_set_get(struct redis_set *s, const char *address);

#endif
