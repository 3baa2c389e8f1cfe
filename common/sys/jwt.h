/*
 * Access tokens: JWS compact (RFC 7515) with JWT claims (RFC 7519), HS256 or EdDSA/Ed25519 (RFC 8037), key chosen by
 * kid.
 *
 * Claims used: sub (user id, decimal string), iat, exp (seconds), iss. alg must be the one of the key: "none" and a
 * mismatch are refused. Keys are immutable after creation, so any thread may verify.
 */
#ifndef SYS_JWT_H
#define SYS_JWT_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct jwt_keys;
/*
 * spec: comma-separated "kid:alg:base64url", alg hs256 (32 bytes or more), ed25519 (64-byte secret, signs and verifies)
 * or ed25519-public (32 bytes). The first that can sign signs. On ERR_INVALID *ret_message (own) tells why without
 * showing the key.
 */
enum err jwt_keys_new(const char *spec, const char *issuer, struct jwt_keys **ret, char **ret_message);
void jwt_keys_free(struct jwt_keys **k);
/* Appends the token. ERR_INVALID when no key can sign. */
enum err jwt_sign(const struct jwt_keys *k, uint64_t user_id, uint64_t now_s, uint64_t expires_s, struct buf *to);
/*
 * ERR_EXPIRED (past exp), ERR_FORBIDDEN (anything else wrong); *ret_why is a static sentence for the log and the
 * client.
 */
enum err jwt_verify(const struct jwt_keys *k, struct str token, uint64_t now_s, uint64_t *ret_user_id,
                    uint64_t *ret_expires_s, const char **ret_why);

#endif
