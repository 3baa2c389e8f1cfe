/*
 * Follow, block, mute and their opposites: one write function each. The word that it returns decides the answer; every
 * word that means "it is so now" is 204, so all of these can be repeated.
 */
#include "feedd/handlers.h"

#include "common/base/mem.h"
#include "feedd/write_call.h"

#define RELATION_SQL(name)                                                                                             \
    { #name, "SELECT status, invalidation, targets FROM " #name "($1, $2)" }
static const struct pg_statement FOLLOW_SQL = RELATION_SQL(follow);
static const struct pg_statement UNFOLLOW_SQL = RELATION_SQL(unfollow);
static const struct pg_statement BLOCK_SQL = RELATION_SQL(block_user);
static const struct pg_statement UNBLOCK_SQL = RELATION_SQL(unblock_user);
static const struct pg_statement MUTE_SQL = RELATION_SQL(mute_user);
static const struct pg_statement UNMUTE_SQL = RELATION_SQL(unmute_user);

static void change(struct request *r, const struct pg_statement *statement, write_done_fn *done) {
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_int8(&params, r->user_id);
    pg_param_int8(&params, r->id);
    write_call(r, statement, &params, done);
}

/* False: answered. */
static bool is_other(struct request *r, const char *verb) {
    if (r->id != r->user_id) return true;
    request_problem(r, PROBLEM_SELF, "You cannot %s yourself.", verb);
    return false;
}

static void unknown_user(struct request *r) {
    request_problem(r, PROBLEM_NOT_FOUND, "There is no such user.");
}

static void removed(struct request *r, struct str status) {
    (void)status;
    request_empty(r, 204);
}

static void followed(struct request *r, struct str status) {
    if (str_eq_c(status, "unknown"))
        unknown_user(r);
    else if (str_eq_c(status, "blocked"))
        request_problem(r, PROBLEM_BLOCKED, "You cannot follow this user: one of you has blocked the other.");
    else if (str_eq_c(status, "limit"))
        request_problem(r, PROBLEM_FOLLOWING_LIMIT,
                        "You follow 5,000 users, which is the limit; unfollow somebody first.");
    else
        request_empty(r, 204);
}

static void blocked(struct request *r, struct str status) {
    if (str_eq_c(status, "unknown"))
        unknown_user(r);
    else if (str_eq_c(status, "limit"))
        request_problem(r, PROBLEM_BLOCKS_LIMIT,
                        "You have blocked 5,000 users, which is the limit; unblock somebody first.");
    else
        request_empty(r, 204);
}

static void muted(struct request *r, struct str status) {
    if (str_eq_c(status, "unknown"))
        unknown_user(r);
    else if (str_eq_c(status, "limit"))
        request_problem(r, PROBLEM_MUTES_LIMIT,
                        "You have muted 5,000 users, which is the limit; unmute somebody first.");
    else
        request_empty(r, 204);
}

void following_put(struct request *r) {
    if (is_other(r, "follow")) change(r, &FOLLOW_SQL, followed);
}

void following_delete(struct request *r) {
    change(r, &UNFOLLOW_SQL, removed);
}

void block_put(struct request *r) {
    if (is_other(r, "block")) change(r, &BLOCK_SQL, blocked);
}

void block_delete(struct request *r) {
    change(r, &UNBLOCK_SQL, removed);
}

void mute_put(struct request *r) {
    if (is_other(r, "mute")) change(r, &MUTE_SQL, muted);
}

void mute_delete(struct request *r) {
    change(r, &UNMUTE_SQL, removed);
}
