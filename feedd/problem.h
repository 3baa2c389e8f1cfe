/*
 * Problems (RFC 9457): every error that a client can get, in one table. `code` is what a program branches on; `detail`
 * is for people. Pure; any thread.
 */
#ifndef FEEDD_PROBLEM_H
#define FEEDD_PROBLEM_H

#include "common/base/buf.h"

#define PROBLEM_CONTENT_TYPE "application/problem+json"

#define PROBLEM_TABLE(X)                                                                                               \
    X(BAD_REQUEST, 400, "bad_request")                                                                                 \
    X(BAD_QUERY, 400, "bad_query")                                                                                     \
    X(BAD_CURSOR, 400, "bad_cursor")                                                                                   \
    X(BAD_HEADER, 400, "bad_header")                                                                                   \
    X(BAD_UTF8, 400, "bad_utf8")                                                                                       \
    X(BAD_JSON, 400, "bad_json")                                                                                       \
    X(MISSING_MEMBER, 400, "missing_member")                                                                           \
    X(UNKNOWN_MEMBER, 400, "unknown_member")                                                                           \
    X(WRONG_TYPE, 400, "wrong_type")                                                                                   \
    X(NO_TOKEN, 401, "no_token")                                                                                       \
    X(BAD_TOKEN, 401, "bad_token")                                                                                     \
    X(TOKEN_EXPIRED, 401, "token_expired")                                                                             \
    X(WRONG_CREDENTIALS, 401, "wrong_credentials")                                                                     \
    X(FORBIDDEN, 403, "forbidden")                                                                                     \
    X(BLOCKED, 403, "blocked")                                                                                         \
    X(NOT_FOUND, 404, "not_found")                                                                                     \
    X(METHOD_NOT_ALLOWED, 405, "method_not_allowed")                                                                   \
    X(REQUEST_TIMEOUT, 408, "request_timeout")                                                                         \
    X(HANDLE_TAKEN, 409, "handle_taken")                                                                               \
    X(BODY_TOO_LARGE, 413, "body_too_large")                                                                           \
    X(URI_TOO_LONG, 414, "uri_too_long")                                                                               \
    X(UNSUPPORTED_MEDIA_TYPE, 415, "unsupported_media_type")                                                           \
    X(TOO_SHORT, 422, "too_short")                                                                                     \
    X(TOO_LONG, 422, "too_long")                                                                                       \
    X(BAD_VALUE, 422, "bad_value")                                                                                     \
    X(SELF, 422, "self")                                                                                               \
    X(FOLLOWING_LIMIT, 422, "following_limit")                                                                         \
    X(BLOCKS_LIMIT, 422, "blocks_limit")                                                                               \
    X(MUTES_LIMIT, 422, "mutes_limit")                                                                                 \
    X(KEY_REUSED, 422, "key_reused")                                                                                   \
    X(UNKNOWN_POST, 422, "unknown_post")                                                                               \
    X(RATE_LIMITED, 429, "rate_limited")                                                                               \
    X(HEADERS_TOO_LARGE, 431, "headers_too_large")                                                                     \
    X(INTERNAL, 500, "internal")                                                                                       \
    X(UNAVAILABLE, 503, "unavailable")                                                                                 \
    X(BUSY, 503, "busy")                                                                                               \
    X(OVERLOADED, 503, "overloaded")                                                                                   \
    X(NOT_CONFIRMED, 503, "not_confirmed")                                                                             \
    X(OUTCOME_UNKNOWN, 503, "outcome_unknown")

#define PROBLEM_ENUM(name, status, code) PROBLEM_##name,
enum problem { PROBLEM_NONE, PROBLEM_TABLE(PROBLEM_ENUM) PROBLEM_COUNT };
#undef PROBLEM_ENUM

unsigned problem_status(enum problem p);
const char *problem_code(enum problem p);
const char *problem_title(unsigned status); /* the status' own phrase: "Not Found" */
/* The problem that the HTTP server's own errors have (400, 408, 413, 414, 431, else BAD_REQUEST or INTERNAL). */
enum problem problem_of_status(unsigned status);
/* Appends {"type":"about:blank","title":...,"status":...,"code":...,"detail":...}. detail: valid UTF-8. */
void problem_write(enum problem p, struct str detail, struct buf *to);

#endif
