/*
 * Profiles: my own, others', and changing mine. Read from the database, which is the only place that counts following.
 */
#include "feedd/handlers.h"

#include "common/base/mem.h"
#include "common/domain/id.h"
#include "feedd/write_call.h"

static const struct pg_statement PROFILE_SQL = {
    "profile", "SELECT u.handle, u.name, u.picture, u.following_count, EXISTS (SELECT FROM following f WHERE f.shard = "
               "shard_of($2) "
               "AND f.follower = $2 AND f.followee = $1) FROM users u WHERE u.shard = shard_of($1) AND u.id = $1"};
static const struct pg_statement UPDATE_SQL = {
    "update_profile", "SELECT status, invalidation, targets FROM update_profile($1, $2, $3, $4)"};

enum { NAME, PICTURE, MEMBER_COUNT };
static const struct body_member PATCH[MEMBER_COUNT] = {
    [NAME] = {"name", BODY_LINE, false, false, 1, 100},
    [PICTURE] = {"picture", BODY_URL, false, true, 1, 500},
};

static void profile_read(void *ctx, enum err err, const struct pg_result *result) {
    struct request *r = ctx;
    if (err != ERR_OK) {
        request_fail_db(r, err, result, "the database");
        return;
    }
    uint64_t id = r->id ? r->id : r->user_id;
    if (pg_rows(result) == 0) {
        request_problem(r, PROBLEM_NOT_FOUND, "There is no such user.");
        return;
    }
    struct buf body = BUF_INIT;
    buf_add_c(&body, "{\"id\":");
    json_write_id(&body, id);
    buf_add_c(&body, ",\"handle\":");
    json_write_string(&body, pg_text(result, 0, 0));
    buf_add_c(&body, ",\"name\":");
    json_write_string(&body, pg_text(result, 0, 1));
    buf_add_c(&body, ",\"picture\":");
    if (pg_null(result, 0, 2))
        buf_add_c(&body, "null");
    else
        json_write_string(&body, pg_text(result, 0, 2));
    buf_add_c(&body, ",\"created_at\":");
    json_write_time(&body, id_unix_ms(id));
    buf_add_c(&body, ",\"following\":");
    buf_add_u64(&body, pg_int8(result, 0, 3));
    if (r->id) buf_add_c(&body, pg_bool(result, 0, 4) ? ",\"followed\":true" : ",\"followed\":false");
    buf_add_char(&body, '}');
    request_json(r, 200, &body);
}

static void respond_profile(struct request *r) {
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_int8(&params, r->id ? r->id : r->user_id);
    pg_param_int8(&params, r->user_id);
    enum err err = pg_exec(r->worker->fast, &PROFILE_SQL, &params, profile_read, r);
    if (err != ERR_OK) request_fail(r, err, "the database");
}

void me_get(struct request *r) {
    respond_profile(r);
}

void user_get(struct request *r) {
    respond_profile(r);
}

static void profile_updated(struct request *r, struct str status) {
    (void)status; /* "unknown" reads as no such user */
    respond_profile(r);
}

void me_patch(struct request *r) {
    struct body_value v[MEMBER_COUNT];
    if (!request_body(r, PATCH, MEMBER_COUNT, v)) return;
    if (!v[NAME].present && !v[PICTURE].present) {
        request_problem(r, PROBLEM_MISSING_MEMBER, "Nothing to change: give \"name\", \"picture\" or both.");
        return;
    }
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_int8(&params, r->user_id);
    pg_param_text(&params, v[NAME].present ? v[NAME].text : (struct str){0});
    pg_param_bool(&params, v[PICTURE].present);
    pg_param_text(&params, v[PICTURE].present && !v[PICTURE].null ? v[PICTURE].text : (struct str){0});
    write_call(r, &UPDATE_SQL, &params, profile_updated);
}
