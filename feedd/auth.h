/*
 * Who is calling: "Authorization: Bearer <JWT>". Verified tokens are remembered in a small table a worker, since a
 * client sends the same one again and again; a hit compares the whole token and its expiry.
 */
#ifndef FEEDD_AUTH_H
#define FEEDD_AUTH_H

#include "common/sys/jwt.h"
#include "feedd/problem.h"

#define AUTH_TOKEN_MAX 2048 /* bytes */

struct auth_cache; /* one thread */
struct auth_cache *auth_cache_new(const struct jwt_keys *keys);
void auth_cache_free(struct auth_cache **c);

/*
 * header: value of Authorization, data NULL when there is none. PROBLEM_NONE and the user, or PROBLEM_NO_TOKEN,
 * _BAD_TOKEN, _TOKEN_EXPIRED with a sentence (static) for the client.
 */
enum problem auth_check(struct auth_cache *c, struct str header, uint64_t now_s, uint64_t *ret_user_id,
                        const char **ret_why);

#endif
