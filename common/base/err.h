/*
 * One table of errors for the whole house.
 *
 * Every fallible function returns enum err; outputs (ret_*) stay untouched unless it returns ERR_OK. A caller branches
 * on the class, not on the code: feedd turns it into an HTTP status, fanoutd into retry, park or drop.
 *
 *   ERR_CLASS_RETRY      nothing happened; the same call may work later
 *   ERR_CLASS_DEFINITE   nothing happened and the same call will never work: the caller is told what was wrong
 *   ERR_CLASS_UNCERTAIN  the write may or may not have happened; only an idempotent call may be repeated
 *   ERR_CLASS_BROKEN     an invariant or a dependency broke; not the caller's fault, not worth a quick retry
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_class { ERR_CLASS_NONE, ERR_CLASS_RETRY, ERR_CLASS_DEFINITE, ERR_CLASS_UNCERTAIN, ERR_CLASS_BROKEN };

#define ERR_TABLE(X)                                                                                                   \
    X(ERR_OK, ERR_CLASS_NONE, "ok")                                                                                    \
    X(ERR_BUSY, ERR_CLASS_RETRY, "a limit is reached; try again later")                                                \
    X(ERR_REFUSED, ERR_CLASS_RETRY, "not connected; nothing was sent")                                                 \
    X(ERR_STALE, ERR_CLASS_RETRY, "the placement lease lapsed or the placement changed")                               \
    X(ERR_CANCELED, ERR_CLASS_RETRY, "canceled before it was sent")                                                    \
    X(ERR_INVALID, ERR_CLASS_DEFINITE, "invalid argument")                                                             \
    X(ERR_TOO_LARGE, ERR_CLASS_DEFINITE, "too large")                                                                  \
    X(ERR_NOT_FOUND, ERR_CLASS_DEFINITE, "not found")                                                                  \
    X(ERR_CONFLICT, ERR_CLASS_DEFINITE, "conflicts with what is stored")                                               \
    X(ERR_FORBIDDEN, ERR_CLASS_DEFINITE, "not allowed")                                                                \
    X(ERR_LIMIT, ERR_CLASS_DEFINITE, "a fixed limit is reached")                                                       \
    X(ERR_EXPIRED, ERR_CLASS_DEFINITE, "expired")                                                                      \
    X(ERR_TIMEOUT, ERR_CLASS_UNCERTAIN, "no answer in time")                                                           \
    X(ERR_LOST, ERR_CLASS_UNCERTAIN, "connection lost after sending")                                                  \
    X(ERR_PROTOCOL, ERR_CLASS_BROKEN, "the peer broke the protocol")                                                   \
    X(ERR_CORRUPT, ERR_CLASS_BROKEN, "stored data cannot be decoded")                                                  \
    X(ERR_BACKEND, ERR_CLASS_BROKEN, "the backend answered with an error")                                             \
    X(ERR_IO, ERR_CLASS_BROKEN, "input or output error")                                                               \
    X(ERR_INTERNAL, ERR_CLASS_BROKEN, "internal error")

#define ERR_ENUM(code, class, text) code,
enum err { ERR_TABLE(ERR_ENUM) ERR_COUNT };
#undef ERR_ENUM

/* All three take any value (an unknown one reads as internal/broken), never fail, may be called from any thread. */
const char *err_name(enum err e); /* "ERR_BUSY" */
const char *err_text(enum err e); /* "a limit is reached; try again later" */
enum err_class err_class(enum err e);

#endif
