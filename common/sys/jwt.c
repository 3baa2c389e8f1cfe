/*
 * Access tokens (JWS compact serialisation) over libsodium.
 *
 *   token = b64(header) "." b64(payload) "." b64(signature)
 *
 * Order of checks: size, shape, header (no crit), key by kid, algorithm equals the key's, signature, and only then the
 * payload: no byte of it is parsed before the signature holds. A key has one algorithm for life, so a public key can
 * never be taken for an HMAC secret. base64url is strict (no padding, no stray bits): one token has one spelling.
 *
 * There is no leeway: exp and nbf are compared with the clock as it is. No revocation, no encryption, no key fetching.
 */
#include "common/sys/jwt.h"

#include <sodium.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/sys/json.h"

#define TOKEN_MAX    4096
#define KEYS_MAX     16
#define KID_MAX      64
#define HMAC_KEY_MIN 32
#define HMAC_KEY_MAX 1024

enum algorithm { HS256, ED25519, ED25519_PUBLIC };

static const struct {
    const char *name; /* in the specification */
    const char *jws;  /* in a header */
    size_t min, max;  /* bytes of the key */
} algorithms[] = {
    [HS256] = {"hs256", "HS256", HMAC_KEY_MIN, HMAC_KEY_MAX},
    [ED25519] = {"ed25519", "EdDSA", crypto_sign_SECRETKEYBYTES, crypto_sign_SECRETKEYBYTES},
    [ED25519_PUBLIC] = {"ed25519-public", "EdDSA", crypto_sign_PUBLICKEYBYTES, crypto_sign_PUBLICKEYBYTES},
};

struct key {
    char kid[KID_MAX + 1];
    enum algorithm algorithm;
    unsigned char secret[HMAC_KEY_MAX]; /* of ed25519-public: the public key */
    size_t secret_len;
    unsigned char public[crypto_sign_PUBLICKEYBYTES];
};

struct jwt_keys {
    char *issuer; /* (own) NULL: any */
    size_t count;
    struct key keys[KEYS_MAX];
};

/*
 * Strict; false also when the decoded bytes do not fit. The library takes some bytes above 127 for letters (a char that
 * is negative), so they are refused here: one text for one token.
 */
static bool base64url_decode(struct str text, unsigned char *to, size_t max, size_t *ret_len) {
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] > 127) return false;
    }
    return text.len > 0 && sodium_base642bin(to, max, text.data, text.len, NULL, ret_len, NULL,
                                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
}

static void base64url_add(struct buf *to, const void *bytes, size_t len) {
    size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING); /* with its NUL */
    buf_reserve(to, room);
    sodium_bin2base64(to->data + to->len, room, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    to->len += room - 1;
}

static const struct key *find_key(const struct jwt_keys *k, struct str kid) {
    for (size_t i = 0; i < k->count; i++)
        if (str_eq_c(kid, k->keys[i].kid)) return &k->keys[i];
    return NULL;
}

/* A static sentence when the ed25519 secret does not hold the public key that belongs to it. */
static const char *derive_public(struct key *key) {
    if (key->algorithm == ED25519_PUBLIC) memcpy(key->public, key->secret, sizeof key->public);
    if (key->algorithm != ED25519) return NULL;
    unsigned char derived[crypto_sign_SECRETKEYBYTES];
    crypto_sign_seed_keypair(key->public, derived, key->secret); /* its first half is the seed */
    bool same = sodium_memcmp(derived, key->secret, sizeof derived) == 0;
    sodium_memzero(derived, sizeof derived);
    return same ? NULL : "has two halves that do not belong together; give seed and public key, 64 bytes";
}

/* Reads "kid:alg:base64url" into key; NULL or what is wrong. */
static const char *parse_key(const struct jwt_keys *k, struct str spec, struct key *key) {
    const char *colon = memchr(spec.data, ':', spec.len);
    const char *second = colon ? memchr(colon + 1, ':', (size_t)(spec.data + spec.len - colon - 1)) : NULL;
    if (!second) return "is not of the form kid:alg:base64url";
    struct str kid = str_of(spec.data, (size_t)(colon - spec.data));
    struct str alg = str_of(colon + 1, (size_t)(second - colon - 1));
    struct str secret = str_of(second + 1, (size_t)(spec.data + spec.len - second - 1));
    if (kid.len == 0 || kid.len > KID_MAX) return "has no kid, or one of more than 64 characters";
    if (find_key(k, kid)) return "has the kid of an earlier one; give each its own";
    size_t a = 0;
    while (a < ARRAY_LEN(algorithms) && !str_eq_c(alg, algorithms[a].name)) a++;
    if (a == ARRAY_LEN(algorithms)) return "has an unknown algorithm; give hs256, ed25519 or ed25519-public";
    memcpy(key->kid, kid.data, kid.len);
    key->algorithm = (enum algorithm)a;
    if (!base64url_decode(secret, key->secret, sizeof key->secret, &key->secret_len))
        return "is not base64url without padding";
    if (key->secret_len < algorithms[a].min || key->secret_len > algorithms[a].max)
        return a == HS256     ? "is too short or too long; hs256 takes 32 to 1024 bytes"
               : a == ED25519 ? "has the wrong length; ed25519 takes 64 bytes (seed and public key)"
                              : "has the wrong length; ed25519-public takes 32 bytes";
    return derive_public(key);
}

enum err jwt_keys_new(const char *spec, const char *issuer, struct jwt_keys **ret, char **ret_message) {
    struct jwt_keys *k = NEW(struct jwt_keys);
    const char *problem = sodium_init() < 0 ? "cannot be used: the random source of this machine does not work" : NULL;
    while (!problem) {
        size_t len = strcspn(spec, ",");
        if (k->count == KEYS_MAX)
            problem = "is one too many; at most 16 are allowed";
        else
            problem = parse_key(k, str_of(spec, len), &k->keys[k->count]);
        if (problem) break;
        k->count++;
        if (spec[len] == '\0') break;
        spec += len + 1;
    }
    if (problem) {
        *ret_message = mem_printf("token key %zu %s", k->count + 1, problem);
        jwt_keys_free(&k);
        return ERR_INVALID;
    }
    k->issuer = issuer ? mem_strdup(issuer) : NULL;
    *ret = k;
    return ERR_OK;
}

void jwt_keys_free(struct jwt_keys **k) {
    if (!*k) return;
    mem_free((*k)->issuer);
    sodium_memzero(*k, sizeof **k);
    mem_free(*k);
    *k = NULL;
}

static void hmac(const struct key *key, struct str message, unsigned char mac[crypto_auth_hmacsha256_BYTES]) {
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key->secret, key->secret_len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)message.data, message.len);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
}

static void add_text_member(struct buf *to, const char *before, const char *text) {
    buf_add_c(to, before);
    json_write_string(to, str_c(text));
}

enum err jwt_sign(const struct jwt_keys *k, uint64_t user_id, uint64_t now_s, uint64_t expires_s, struct buf *to) {
    const struct key *key = NULL;
    for (size_t i = 0; i < k->count && !key; i++)
        if (k->keys[i].algorithm != ED25519_PUBLIC) key = &k->keys[i];
    if (!key) return ERR_INVALID;
    CLEANUP(buf_fini) struct buf part = BUF_INIT;
    size_t start = to->len;
    buf_addf(&part, "{\"alg\":\"%s\",\"typ\":\"JWT\"", algorithms[key->algorithm].jws);
    add_text_member(&part, ",\"kid\":", key->kid);
    buf_add_char(&part, '}');
    base64url_add(to, part.data, part.len);
    buf_add_char(to, '.');
    buf_clear(&part);
    buf_addf(&part, "{\"sub\":\"%llu\",\"iat\":%llu,\"exp\":%llu", (unsigned long long)user_id,
             (unsigned long long)now_s, (unsigned long long)expires_s);
    if (k->issuer) add_text_member(&part, ",\"iss\":", k->issuer);
    buf_add_char(&part, '}');
    base64url_add(to, part.data, part.len);
    struct str message = str_of(to->data + start, to->len - start);
    unsigned char signature[crypto_sign_BYTES];
    size_t len = crypto_auth_hmacsha256_BYTES;
    if (key->algorithm == HS256) {
        hmac(key, message, signature);
    } else {
        crypto_sign_detached(signature, NULL, (const unsigned char *)message.data, message.len, key->secret);
        len = crypto_sign_BYTES;
    }
    buf_add_char(to, '.');
    base64url_add(to, signature, len);
    return ERR_OK;
}

static bool signature_holds(const struct key *key, struct str message, struct str encoded) {
    unsigned char signature[crypto_sign_BYTES], mac[crypto_auth_hmacsha256_BYTES];
    size_t len;
    if (!base64url_decode(encoded, signature, sizeof signature, &len)) return false;
    if (key->algorithm == HS256) {
        hmac(key, message, mac);
        return len == sizeof mac && sodium_memcmp(mac, signature, sizeof mac) == 0;
    }
    return len == crypto_sign_BYTES &&
           crypto_sign_verify_detached(signature, (const unsigned char *)message.data, message.len, key->public) == 0;
}

/* Decodes and parses a part that has to be a JSON object; NULL when it is none. */
static struct json *parse_part(struct str encoded) {
    unsigned char text[TOKEN_MAX];
    char why[160];
    size_t len;
    struct json *object;
    if (!base64url_decode(encoded, text, sizeof text, &len)) return NULL;
    if (json_parse(str_of((const char *)text, len), &object, why) != ERR_OK) return NULL;
    if (json_type(object) != JSON_OBJECT) json_free(&object);
    return object;
}

static bool is_text(const struct json *j, const char *text) {
    return j && json_type(j) == JSON_STRING && str_eq_c(json_string(j), text);
}

/* The key that the header names; NULL with a reason when there is none or the algorithm is not its own. */
static const struct key *choose_key(const struct jwt_keys *k, const struct json *header, const char **why) {
    const struct json *kid = json_member(header, "kid");
    const struct key *key = NULL;
    *why = "the token's header has extensions (crit) that are not understood";
    if (json_member(header, "crit")) return NULL;
    *why = "the token's key is not known here";
    if (kid && json_type(kid) == JSON_STRING) key = find_key(k, json_string(kid));
    if (!kid && k->count == 1) key = &k->keys[0];
    if (!key) return NULL;
    *why = "the token's algorithm is not the one of its key";
    return is_text(json_member(header, "alg"), algorithms[key->algorithm].jws) ? key : NULL;
}

/* A NumericDate: seconds, possibly with a fraction. Rounded down; negative and absurd ones are no dates. */
static bool numeric_date(const struct json *j, uint64_t *ret_s) {
    if (!j || (json_type(j) != JSON_INT && json_type(j) != JSON_REAL)) return false;
    double seconds = json_real(j);
    if (!(seconds >= 0 && seconds < 1e15)) return false;
    *ret_s = json_type(j) == JSON_INT ? (uint64_t)json_int(j) : (uint64_t)seconds;
    return true;
}

static enum err check_claims(const struct jwt_keys *k, const struct json *claims, uint64_t now_s, uint64_t *ret_user_id,
                             uint64_t *ret_expires_s, const char **why) {
    const struct json *sub = json_member(claims, "sub"), *nbf = json_member(claims, "nbf");
    uint64_t user_id, expires_s, from_s;
    *why = "the token has no expiry (exp, seconds since 1970)";
    if (!numeric_date(json_member(claims, "exp"), &expires_s)) return ERR_FORBIDDEN;
    *why = "the token is from another issuer";
    if (k->issuer && !is_text(json_member(claims, "iss"), k->issuer)) return ERR_FORBIDDEN;
    *why = "the token names no user (sub, a decimal id)";
    if (!sub || !str_u64(json_string(sub), &user_id) || user_id == 0 || user_id > INT64_MAX) return ERR_FORBIDDEN;
    *why = "the token is not valid yet";
    if (nbf && (!numeric_date(nbf, &from_s) || now_s < from_s)) return ERR_FORBIDDEN;
    *why = "the token has expired";
    if (now_s >= expires_s) return ERR_EXPIRED;
    *why = "ok";
    *ret_user_id = user_id;
    *ret_expires_s = expires_s;
    return ERR_OK;
}

enum err jwt_verify(const struct jwt_keys *k, struct str token, uint64_t now_s, uint64_t *ret_user_id,
                    uint64_t *ret_expires_s, const char **ret_why) {
    *ret_why = "the token is longer than 4096 bytes";
    if (token.len > TOKEN_MAX) return ERR_FORBIDDEN;
    *ret_why = "the token is not of the form header.payload.signature";
    const char *first = token.len > 0 ? memchr(token.data, '.', token.len) : NULL;
    const char *last = token.len > 0 ? memrchr(token.data, '.', token.len) : NULL;
    if (!first || first == last || memchr(first + 1, '.', (size_t)(last - first - 1))) return ERR_FORBIDDEN;
    struct str message = str_of(token.data, (size_t)(last - token.data));
    struct str signature = str_of(last + 1, (size_t)(token.data + token.len - last - 1));

    *ret_why = "the token's header is not a JSON object in base64url";
    CLEANUP(json_free) struct json *header = parse_part(str_of(token.data, (size_t)(first - token.data)));
    if (!header) return ERR_FORBIDDEN;
    const struct key *key = choose_key(k, header, ret_why);
    if (!key) return ERR_FORBIDDEN;
    *ret_why = "the token's signature is wrong";
    if (!signature_holds(key, message, signature)) return ERR_FORBIDDEN;

    *ret_why = "the token's payload is not a JSON object in base64url";
    CLEANUP(json_free) struct json *claims = parse_part(str_of(first + 1, (size_t)(last - first - 1)));
    if (!claims) return ERR_FORBIDDEN;
    return check_claims(k, claims, now_s, ret_user_id, ret_expires_s, ret_why);
}
