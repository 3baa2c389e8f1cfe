/*
 * Bearer tokens. The cache is direct-mapped by the token's hash: a collision costs a verification, never a wrong
 * answer, because the whole token is compared. Only tokens that verified are kept; the expiry is checked at every use.
 */
#include "feedd/auth.h"

#include <string.h>
#include <strings.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define PLACES 16384

struct place {
    char *token; /* (own) NULL: free */
    size_t len;
    uint64_t user_id;
    uint64_t expires_s;
};
struct auth_cache {
    const struct jwt_keys *keys; /* (ref) */
    struct place places[PLACES];
};

struct auth_cache *auth_cache_new(const struct jwt_keys *keys) {
    struct auth_cache *c = NEW(struct auth_cache);
    c->keys = keys;
    return c;
}

static void place_clear(struct place *p) {
    if (p->token) explicit_bzero(p->token, p->len);
    mem_free(p->token);
    *p = (struct place){0};
}

void auth_cache_free(struct auth_cache **c) {
    if (!*c) return;
    for (size_t i = 0; i < PLACES; i++) place_clear(&(*c)->places[i]);
    mem_free(*c);
    *c = NULL;
}

/* The token in "Bearer <token>" (the scheme in any case); data NULL when it is something else. */
static struct str bearer_token(struct str header) {
    static const size_t SCHEME = sizeof("Bearer ") - 1;
    if (header.len <= SCHEME || strncasecmp(header.data, "Bearer ", SCHEME) != 0) return (struct str){0};
    struct str t = str_of(header.data + SCHEME, header.len - SCHEME);
    while (t.len && t.data[0] == ' ') t.data++, t.len--;
    while (t.len && t.data[t.len - 1] == ' ') t.len--;
    return t.len ? t : (struct str){0};
}

static enum problem expired(const char **ret_why) {
    *ret_why = "The token has expired: log in again.";
    return PROBLEM_TOKEN_EXPIRED;
}

enum problem auth_check(struct auth_cache *c, struct str header, uint64_t now_s, uint64_t *ret_user_id,
                        const char **ret_why) {
    if (!header.data) {
        *ret_why = "This call needs the header \"Authorization: Bearer <token>\".";
        return PROBLEM_NO_TOKEN;
    }
    struct str token = bearer_token(header);
    if (!token.data || token.len > AUTH_TOKEN_MAX) {
        *ret_why = token.data ? "The token is too long." : "Authorization must be \"Bearer <token>\".";
        return PROBLEM_BAD_TOKEN;
    }
    struct place *p = &c->places[hash_bytes(token.data, token.len) % PLACES];
    if (p->token && p->len == token.len && memcmp(p->token, token.data, token.len) == 0) {
        if (p->expires_s <= now_s) {
            place_clear(p);
            return expired(ret_why);
        }
        *ret_user_id = p->user_id;
        return PROBLEM_NONE;
    }
    uint64_t user_id = 0;
    uint64_t expires_s = 0;
    const char *why = "The token is not valid.";
    enum err err = jwt_verify(c->keys, token, now_s, &user_id, &expires_s, &why);
    if (err == ERR_EXPIRED) return expired(ret_why);
    if (err != ERR_OK) {
        *ret_why = why;
        return PROBLEM_BAD_TOKEN;
    }
    place_clear(p);
    *p = (struct place){mem_dup(token.data, token.len), token.len, user_id, expires_s};
    *ret_user_id = user_id;
    return PROBLEM_NONE;
}
