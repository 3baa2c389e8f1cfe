/*
 * Sign-up and log-in: password work in the pool, then PostgreSQL, then a token.
 *
 * A log-in with an unknown handle does the same work and gets the same answer as one with a wrong password. Log-ins are
 * also counted by handle, so that one account's password cannot be tried from many addresses at any speed.
 */
#include "feedd/handlers.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "feedd/metrics.h"
#include "feedd/request.h"

enum { HANDLE, PASSWORD, NAME, PICTURE, MEMBER_COUNT };
#define LOG_IN_MEMBERS 2
static const struct body_member SIGN_UP[MEMBER_COUNT] = {
    [HANDLE] = {"handle", BODY_HANDLE, true, false, 3, 30},
    [PASSWORD] = {"password", BODY_SECRET, true, false, 8, 256},
    [NAME] = {"name", BODY_LINE, true, false, 1, 100},
    [PICTURE] = {"picture", BODY_URL, false, true, 1, 500},
};
/* Any string may be tried: what is no handle or no password is a wrong one. */
static const struct body_member LOG_IN[LOG_IN_MEMBERS] = {
    [HANDLE] = {"handle", BODY_SECRET, true, false, 1, 100},
    [PASSWORD] = {"password", BODY_SECRET, true, false, 1, 256},
};

static const struct pg_statement SIGN_UP_SQL = {"sign_up", "SELECT status, user_id FROM sign_up($1, $2, $3, $4)"};
static const struct pg_statement LOG_IN_SQL = {"log_in",
                                               "SELECT u.id, u.name, u.password_hash FROM handles h JOIN users u ON "
                                               "u.shard = shard_of(h.user_id) AND u.id = h.user_id "
                                               "WHERE h.handle = $1"};

struct account {
    struct str handle;
    struct str name;
    struct str picture; /* data NULL: none */
    struct str password;
    uint64_t user_id;
};

static void respond_account(struct request *r, const struct account *a, uint64_t user_id, unsigned status) {
    const struct feedd *feedd = r->worker->feedd;
    uint64_t now_s = clock_wall_ms() / 1000;
    uint64_t expires_s = now_s + (uint64_t)feedd->opt->token_ttl_ms / 1000;
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    enum err err = jwt_sign(feedd->keys, user_id, now_s, expires_s, &token);
    if (err != ERR_OK) {
        request_fail(r, ERR_INTERNAL, "signing a token");
        return;
    }
    struct buf body = BUF_INIT;
    buf_add_c(&body, "{\"id\":");
    json_write_id(&body, user_id);
    buf_add_c(&body, ",\"handle\":");
    json_write_string(&body, a->handle);
    buf_add_c(&body, ",\"name\":");
    json_write_string(&body, a->name);
    buf_add_c(&body, ",\"token\":");
    json_write_string(&body, buf_str(&token));
    buf_add_c(&body, ",\"expires_at\":");
    json_write_time(&body, expires_s * 1000);
    buf_add_char(&body, '}');
    request_set_header(r, "Cache-Control", "no-store");
    request_json(r, status, &body);
}

static void signed_up(void *ctx, enum err err, const struct pg_result *result) {
    struct request *r = ctx;
    struct account *a = r->data;
    if (err != ERR_OK)
        request_fail_db(r, err, result, "the database");
    else if (str_eq_c(pg_text(result, 0, 0), "taken"))
        request_problem(r, PROBLEM_HANDLE_TAKEN, "The handle \"%.*s\" is taken.", (int)a->handle.len, a->handle.data);
    else
        respond_account(r, a, pg_int8(result, 0, 1), 201);
}

static void hashed(void *ctx, enum err err, const char *hash, bool match) {
    struct request *r = ctx;
    struct account *a = r->data;
    (void)match;
    if (err != ERR_OK || !hash[0]) {
        request_fail(r, err == ERR_OK ? ERR_INTERNAL : err, "password hashing");
        return;
    }
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_text(&params, a->handle);
    pg_param_text(&params, a->name);
    pg_param_text(&params, a->picture);
    pg_param_text(&params, str_c(hash));
    err = pg_exec(r->worker->fast, &SIGN_UP_SQL, &params, signed_up, r);
    if (err != ERR_OK) request_fail(r, err, "the database");
}

void sign_up(struct request *r) {
    struct body_value v[MEMBER_COUNT];
    if (!request_body(r, SIGN_UP, MEMBER_COUNT, v)) return;
    struct account *a = ARENA_NEW(&r->arena, struct account);
    *a = (struct account){.handle = v[HANDLE].text, .name = v[NAME].text, .password = v[PASSWORD].text};
    if (v[PICTURE].present && !v[PICTURE].null) a->picture = v[PICTURE].text;
    r->data = a;
    enum err err = password_hash(r->worker->feedd->passwords, r->worker->loop, a->password, hashed, r);
    if (err != ERR_OK) request_fail(r, err, "password hashing");
}

static void verified(void *ctx, enum err err, const char *hash, bool match) {
    struct request *r = ctx;
    struct account *a = r->data;
    (void)hash;
    if (err != ERR_OK)
        request_fail(r, err, "password hashing");
    else if (!match || !a->user_id)
        request_problem(r, PROBLEM_WRONG_CREDENTIALS, "There is no account with this handle and this password.");
    else
        respond_account(r, a, a->user_id, 200);
}

static void check_password(struct request *r, const char *hash) {
    struct account *a = r->data;
    enum err err = password_verify(r->worker->feedd->passwords, r->worker->loop, a->password, hash, verified, r);
    if (err != ERR_OK) request_fail(r, err, "password hashing");
}

static void account_found(void *ctx, enum err err, const struct pg_result *result) {
    struct request *r = ctx;
    struct account *a = r->data;
    if (err != ERR_OK) {
        request_fail_db(r, err, result, "the database");
        return;
    }
    if (pg_rows(result) == 0 || pg_null(result, 0, 2)) {
        check_password(r, NULL);
        return;
    }
    struct str name = pg_text(result, 0, 1);
    struct str hash = pg_text(result, 0, 2);
    a->user_id = pg_int8(result, 0, 0);
    a->name = str_of(arena_strndup(&r->arena, name.data, name.len), name.len);
    check_password(r, arena_strndup(&r->arena, hash.data, hash.len));
}

/* False: answered 429. */
static bool check_handle_limit(struct request *r, struct str handle) {
    struct feedd *feedd = r->worker->feedd;
    uint64_t key = hash_bytes(handle.data, handle.len);
    struct limit_verdict v = limits_take(feedd->limits, LIMIT_HANDLE, key, clock_mono_ns());
    if (v.allowed) return true;
    r->verdict = v;
    feed_metrics_limited(feedd->metrics, LIMIT_HANDLE);
    request_problem(r, PROBLEM_RATE_LIMITED, "Too many log-ins; the next one is possible in %u s.", v.retry_after_s);
    return false;
}

void log_in(struct request *r) {
    struct body_value v[LOG_IN_MEMBERS];
    if (!request_body(r, LOG_IN, LOG_IN_MEMBERS, v)) return;
    struct account *a = ARENA_NEW(&r->arena, struct account);
    *a = (struct account){.handle = v[HANDLE].text, .password = v[PASSWORD].text};
    r->data = a;
    if (!check_handle_limit(r, a->handle)) return;
    if (memchr(a->handle.data, 0, a->handle.len)) { /* PostgreSQL has no such text */
        check_password(r, NULL);
        return;
    }
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_text(&params, a->handle);
    enum err err = pg_exec(r->worker->fast, &LOG_IN_SQL, &params, account_found, r);
    if (err != ERR_OK) request_fail(r, err, "the database");
}
