/*
 * Lists of users: followers, following, blocks, mutes. Ascending by id, which is the primary key's order: a page is one
 * range of an index, and its cursor is the last id, so pages stay stable while the list changes.
 *
 * In others' lists users whom a block hides from the reader (either way) are left out; the list of a user who is hidden
 * from the reader is empty.
 */
#include "feedd/handlers.h"

#include "common/base/mem.h"
#include "common/domain/cursor.h"
#include "feedd/request.h"

/* $1 whose list, $2 after this id, $3 how many, $4 who asks. No row: no such user; one row of NULLs: an empty list. */
#define HIDDEN(other)                                                                                                  \
    "EXISTS (SELECT FROM blocks b WHERE b.shard = shard_of($4) AND b.blocker = $4 AND b.blocked = " other              \
    ") OR EXISTS (SELECT FROM blocked_by b WHERE b.shard = shard_of($4) AND b.blocked = $4 AND b.blocker = " other ")"
#define LIST_SQL(table, owner, member, hidden)                                                                         \
    "SELECT l.id, l.handle, l.name, l.picture FROM users o LEFT JOIN LATERAL ("                                        \
    "SELECT u.id, u.handle, u.name, u.picture FROM (SELECT t." member " AS id FROM " table " t "                       \
    "WHERE t.shard = shard_of($1) AND t." owner " = $1 AND t." member " > $2 AND NOT (" hidden ") "                    \
    "ORDER BY t." member " LIMIT $3) AS m "                                                                            \
    "CROSS JOIN LATERAL (SELECT id, handle, name, picture FROM users WHERE shard = shard_of(m.id) AND users.id = "     \
    "m.id) AS u "                                                                                                      \
    "ORDER BY u.id) AS l ON true WHERE o.shard = shard_of($1) AND o.id = $1 ORDER BY l.id"
#define OTHERS_LIST_SQL(table, owner, member) LIST_SQL(table, owner, member, HIDDEN("$1") " OR " HIDDEN("t." member))
#define OWN_LIST_SQL(table, owner, member)    LIST_SQL(table, owner, member, "$4 <> $1")

static const struct pg_statement FOLLOWERS_SQL = {"list_followers",
                                                  OTHERS_LIST_SQL("followers", "followee", "follower")};
static const struct pg_statement FOLLOWING_SQL = {"list_following",
                                                  OTHERS_LIST_SQL("following", "follower", "followee")};
static const struct pg_statement BLOCKS_SQL = {"list_blocks", OWN_LIST_SQL("blocks", "blocker", "blocked")};
static const struct pg_statement MUTES_SQL = {"list_mutes", OWN_LIST_SQL("mutes", "muter", "muted")};

struct list_call {
    unsigned limit;
    char cursor_kind;
};

static void listed(void *ctx, enum err err, const struct pg_result *result) {
    struct request *r = ctx;
    const struct list_call *call = r->data;
    if (err != ERR_OK) {
        request_fail_db(r, err, result, "the database");
        return;
    }
    int rows = pg_rows(result);
    if (rows == 0) {
        request_problem(r, PROBLEM_NOT_FOUND, "There is no such user.");
        return;
    }
    if (pg_null(result, 0, 0)) rows = 0;
    struct buf body = BUF_INIT;
    uint64_t last = 0;
    page_begin(&body);
    for (int i = 0; i < rows && i < (int)call->limit; i++) {
        last = pg_int8(result, i, 0);
        page_item(&body, (size_t)i);
        buf_add_c(&body, "{\"id\":");
        json_write_id(&body, last);
        buf_add_c(&body, ",\"handle\":");
        json_write_string(&body, pg_text(result, i, 1));
        buf_add_c(&body, ",\"name\":");
        json_write_string(&body, pg_text(result, i, 2));
        buf_add_c(&body, ",\"picture\":");
        if (pg_null(result, i, 3))
            buf_add_c(&body, "null");
        else
            json_write_string(&body, pg_text(result, i, 3));
        buf_add_char(&body, '}');
    }
    page_end(&body, call->cursor_kind, rows > (int)call->limit ? last : 0);
    request_json(r, 200, &body);
}

static void list(struct request *r, const struct pg_statement *statement, char cursor_kind, uint64_t owner) {
    struct list_call *call = ARENA_NEW(&r->arena, struct list_call);
    call->cursor_kind = cursor_kind;
    r->data = call;
    uint64_t after = 0;
    if (!request_page(r, cursor_kind, &call->limit, &after)) return;
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_int8(&params, owner);
    pg_param_int8(&params, after);
    pg_param_int8(&params, (uint64_t)call->limit + 1);
    pg_param_int8(&params, r->user_id);
    enum err err = pg_exec(r->worker->fast, statement, &params, listed, r);
    if (err != ERR_OK) request_fail(r, err, "the database");
}

void followers_list(struct request *r) {
    list(r, &FOLLOWERS_SQL, CURSOR_FOLLOWERS, r->id);
}

void following_list(struct request *r) {
    list(r, &FOLLOWING_SQL, CURSOR_FOLLOWING, r->id);
}

void blocks_list(struct request *r) {
    list(r, &BLOCKS_SQL, CURSOR_BLOCKS, r->user_id);
}

void mutes_list(struct request *r) {
    list(r, &MUTES_SQL, CURSOR_MUTES, r->user_id);
}
