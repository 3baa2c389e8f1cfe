/*
 * Password hashing: argon2id (RFC 9106, libsodium) in a bounded pool of threads, off the event loops. A full queue
 * answers ERR_BUSY at once. Passwords are wiped from memory after use.
 */
#ifndef SYS_PASSWORD_H
#define SYS_PASSWORD_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/sys/loop.h"

#define PASSWORD_HASH_MAX 128 /* encoded hash and NUL */

struct password_pool;
/* ops_limit, memory_bytes: argon2id cost (RFC 9106: 3 passes with 64 MiB; OWASP minimum 2 passes with 19 MiB). */
struct password_pool *password_pool_new(unsigned threads, unsigned queue_max, unsigned ops_limit, size_t memory_bytes);
void password_pool_free(struct password_pool **p); /* waits for running work; queued work completes with ERR_CANCELED */

/*
 * Completed exactly once, on the loop that asked (which runs until then; ERR_CANCELED too comes through it). hash is ""
 * for a failed hash and for verify; match tells a verify's outcome. ERR_BUSY: no memory for the work at the moment.
 */
typedef void password_done_fn(void *ctx, enum err err, const char *hash, bool match);
/*
 * Both copy their input and call done only when they returned ERR_OK (never before returning). From the loop's thread.
 * ERR_INVALID for a hash that is longer than any of ours; done gets ERR_CORRUPT for one that cannot be decoded.
 */
enum err password_hash(struct password_pool *p, struct loop *loop, struct str password, password_done_fn *done,
                       void *ctx);
/*
 * hash NULL: does the same work against a dummy and never matches, so that an unknown handle takes as long as a wrong
 * password.
 */
enum err password_verify(struct password_pool *p, struct loop *loop, struct str password, const char *hash,
                         password_done_fn *done, void *ctx);

#endif
