/* One post: reading, deleting, liking. */
#include "feedd/handlers.h"

#include "common/base/mem.h"
#include "feedd/hydrate.h"
#include "feedd/write_call.h"

static const struct pg_statement DELETE_SQL = {"delete_post",
                                               "SELECT status, invalidation, targets FROM delete_post($1, $2)"};
static const struct pg_statement LIKE_SQL = {"like_post",
                                             "SELECT status, invalidation, targets FROM like_post($1, $2)"};
static const struct pg_statement UNLIKE_SQL = {"unlike_post",
                                               "SELECT status, invalidation, targets FROM unlike_post($1, $2)"};

static void unknown_post(struct request *r) {
    request_problem(r, PROBLEM_NOT_FOUND, "There is no such post.");
}

static void respond_post(struct request *r, const struct hydrated *post) {
    struct buf body = BUF_INIT;
    post_write_json(&post->post, &post->author, post->counts, &body);
    request_json(r, 200, &body);
}

/* A post whose author blocked the reader, or whom the reader blocked, is not there for him. A muted author's is. */
static void relations_read(void *ctx, enum err err, const struct relations *relations) {
    struct request *r = ctx;
    const struct hydrated *post = r->data;
    if (err != ERR_OK)
        request_fail(r, err, "the social graph");
    else if (relations_hides(relations, post->post.author_id))
        unknown_post(r);
    else
        respond_post(r, post);
}

static void post_read(void *ctx, enum err err, const struct hydrated *posts) {
    struct request *r = ctx;
    if (err != ERR_OK) {
        request_fail(r, err, "reading the post");
        return;
    }
    if (!posts[0].exists) {
        unknown_post(r);
        return;
    }
    struct hydrated *post = ARENA_NEW(&r->arena, struct hydrated);
    *post = posts[0];
    r->data = post;
    if (post->post.author_id == r->user_id)
        respond_post(r, post);
    else
        hydrate_relations(r->worker, request_view(r), r->user_id, &r->arena, relations_read, r);
}

void post_get(struct request *r) {
    hydrate_posts(r->worker, request_view_of_id(r), &r->id, NULL, 1, &r->arena, post_read, r);
}

static void change(struct request *r, const struct pg_statement *statement, write_done_fn *done) {
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_int8(&params, r->user_id);
    pg_param_int8(&params, r->id);
    write_call(r, statement, &params, done);
}

static void deleted(struct request *r, struct str status) {
    if (str_eq_c(status, "unknown"))
        unknown_post(r);
    else if (str_eq_c(status, "forbidden"))
        request_problem(r, PROBLEM_FORBIDDEN, "Only its author can delete a post.");
    else
        request_empty(r, 204);
}

static void liked(struct request *r, struct str status) {
    if (str_eq_c(status, "unknown"))
        unknown_post(r);
    else
        request_empty(r, 204);
}

static void unliked(struct request *r, struct str status) {
    (void)status;
    request_empty(r, 204);
}

void post_delete(struct request *r) {
    change(r, &DELETE_SQL, deleted);
}

void like_put(struct request *r) {
    change(r, &LIKE_SQL, liked);
}

void like_delete(struct request *r) {
    change(r, &UNLIKE_SQL, unliked);
}
