/* The routes' handlers. Each gets a request that is routed, authenticated and within its limits, and answers it exactly
 * once. */
#ifndef FEEDD_HANDLERS_H
#define FEEDD_HANDLERS_H

struct request;

/* accounts.c */
void sign_up(struct request *r);
void log_in(struct request *r);
/* profiles.c */
void me_get(struct request *r);
void me_patch(struct request *r);
void user_get(struct request *r);
/* relation_calls.c */
void following_put(struct request *r);
void following_delete(struct request *r);
void block_put(struct request *r);
void block_delete(struct request *r);
void mute_put(struct request *r);
void mute_delete(struct request *r);
/* lists.c */
void followers_list(struct request *r);
void following_list(struct request *r);
void blocks_list(struct request *r);
void mutes_list(struct request *r);
/* posts.c */
void post_get(struct request *r);
void post_delete(struct request *r);
void like_put(struct request *r);
void like_delete(struct request *r);
/* publish_api.c */
void feed_post(struct request *r);
/* feed_api.c */
void feed_get(struct request *r);
void author_feed_get(struct request *r);

#endif
