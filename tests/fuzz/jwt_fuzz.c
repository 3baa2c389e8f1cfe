/*
 * Access tokens. An odd first byte: the rest is a token, good only when it is, byte by byte, one that was signed. An
 * even one: the rest is a header and claims (divided by a NUL) under a true signature, so that the reader of claims is
 * reached; what it lets through must be within its times.
 */
#include <sodium.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/sys/jwt.h"
#include "tests/fuzz/fuzz.h"

#define K1  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" /* bytes 0..31 */
#define NOW UINT64_C(1000)

static struct jwt_keys *keys(void) {
    static struct jwt_keys *k;
    CLEANUP(mem_free_charp) char *message = NULL;
    if (!k) FUZZ_CHECK(jwt_keys_new("k1:hs256:" K1, "fanfare", &k, &message) == ERR_OK);
    return k;
}

bool fuzz_seed(size_t index, struct buf *to) {
    static const char head[] = "{\"alg\":\"HS256\",\"kid\":\"k1\"}";
    static const char *const claims[] = {
        "{\"sub\":\"42\",\"exp\":2000,\"iss\":\"fanfare\"}",
        "{\"sub\":\"42\",\"exp\":2000.5,\"nbf\":1000,\"iat\":1,\"iss\":\"fanfare\",\"aud\":[\"x\"]}",
        "{\"sub\":\"9223372036854775807\",\"exp\":1e9,\"iss\":\"fanfare\"}",
    };
    if (index == 0) {
        buf_add_char(to, 1);
        return jwt_sign(keys(), 42, NOW, 2000, to) == ERR_OK;
    }
    if (index > ARRAY_LEN(claims)) return false;
    buf_add_char(to, 0);
    buf_add(to, head, sizeof(head)); /* with its NUL */
    buf_add_c(to, claims[index - 1]);
    return true;
}

static void add_base64url(struct buf *to, const void *bytes, size_t len) {
    CLEANUP(mem_free_charp)
    char *text = mem_alloc(sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING));
    sodium_bin2base64(text, sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING), bytes, len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_add_c(to, text);
}

static void make_token(struct buf *to, const uint8_t *data, size_t size) {
    unsigned char key[32], mac[crypto_auth_hmacsha256_BYTES];
    for (unsigned i = 0; i < sizeof(key); i++) key[i] = (unsigned char)i;
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t head = nul ? (size_t)(nul - data) : size;
    add_base64url(to, data, head);
    buf_add_char(to, '.');
    if (nul) add_base64url(to, nul + 1, size - head - 1);
    crypto_auth_hmacsha256(mac, (const unsigned char *)to->data, to->len, key);
    buf_add_char(to, '.');
    add_base64url(to, mac, sizeof(mac));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    bool whole = data[0] & 1;
    uint64_t user = 7, expires = 7;
    const char *why = NULL;
    CLEANUP(buf_fini) struct buf made = BUF_INIT, good = BUF_INIT;
    FUZZ_CHECK(jwt_sign(keys(), 42, NOW, 2000, &good) == ERR_OK);
    if (!whole) make_token(&made, data + 1, size - 1);
    struct str token = whole ? str_of((const char *)data + 1, size - 1) : buf_str(&made);
    enum err err = jwt_verify(keys(), token, NOW, &user, &expires, &why);
    FUZZ_CHECK(why && *why);
    if (err == ERR_OK) {
        FUZZ_CHECK(user && user <= ID_MAX && expires > NOW);
        FUZZ_CHECK(!whole || str_eq(token, buf_str(&good)));
    } else {
        FUZZ_CHECK((err == ERR_FORBIDDEN || err == ERR_EXPIRED) && user == 7 && expires == 7);
        FUZZ_CHECK(!whole || !str_eq(token, buf_str(&good)));
    }
    return 0;
}
