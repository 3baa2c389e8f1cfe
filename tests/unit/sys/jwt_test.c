/*
 * Tokens: the RFCs' own vectors, and a table of hostile ones. The tokens of the table were made by another
 * implementation (HMAC and base64 of Python's library), each correctly signed unless its name says otherwise; key k1 is
 * the bytes 0..31.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/jwt.h"

#define K1        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define RFC_SEED  "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL_tPJZAc6DuFy89qmIyWvAhpo9wdRGg"
#define RFC_POINT "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define RFC_HMAC  "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"

static struct jwt_keys *make(const char *spec, const char *issuer) {
    struct jwt_keys *k = NULL;
    CLEANUP(mem_free_charp) char *message = NULL;
    if (jwt_keys_new(spec, issuer, &k, &message) != ERR_OK) fail_msg("%s", message);
    return k;
}

static void assert_verdict(const struct jwt_keys *k, const char *name, const char *token, uint64_t now_s, enum err err,
                           const char *why_has) {
    uint64_t user = 7, expires = 7;
    const char *why = NULL;
    enum err got = jwt_verify(k, str_c(token), now_s, &user, &expires, &why);
    if (got != err || !strstr(why, why_has)) fail_msg("%s: %s, %s", name, err_name(got), why);
    if (got != ERR_OK) assert_true(user == 7 && expires == 7); /* untouched */
    if (got == ERR_OK) assert_int_equal(user, 42);
}

static const struct {
    const char *name;
    enum err err;
    const char *why_has;
    const char *token;
} cases[] = {
    {"good", ERR_OK, "ok",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "VO4ZPoep0EziD0t2tvjzj3OxRoZCPFgb9l1dljYsmoY"},
    {"typ is ignored", ERR_OK, "ok",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiYW55dGhpbmcifQ.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "Np04PdRBniYX882DUY13vC1xqpWu7pr2maihoN1IRKA"},
    {"exp with a fraction", ERR_OK, "ok",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMC41LCJpc3MiOiJmYW5mYXJlIn0.donhTET3BnHliIpSmK-1-"
     "U0QT_oNanaO4Un_Cw5WWOc"},
    {"nbf reached", ERR_OK, "ok",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSIsIm5iZiI6MTAwMH0."
     "eok712CNHVDgLzShf_yhvop6eUyTlG62Q1ftJXekxkI"},
    {"nbf not reached", ERR_FORBIDDEN, "not valid yet",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSIsIm5iZiI6MTAwMX0."
     "usMuzaNI1bItU_Rdet2WY63obm6aKGQXFYnF7hr3mHU"},
    {"nbf no number", ERR_FORBIDDEN, "not valid yet",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSIsIm5iZiI6IngifQ."
     "68eqNxS6OqjL1LKywP5ZGlzydm6NqpAm7ouFfdAdcSU"},
    {"exp reached", ERR_EXPIRED, "has expired",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MTAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "KJNGrMckKE1Kw0f1vmR18RyihdZHb3viwTDV-dypIzg"},
    {"exp next second", ERR_OK, "ok",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MTAwMSwiaXNzIjoiZmFuZmFyZSJ9.wcZeE00boKg-"
     "SnyeNcFENPxd_7VH2BTbyMPy9yU7pFw"},
    {"no exp", ERR_FORBIDDEN, "no expiry",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImlzcyI6ImZhbmZhcmUifQ."
     "lD0teHwykyp5x9Ew27LCaHnVWzMJkB8JBrnCSzIzw1Q"},
    {"exp as text", ERR_FORBIDDEN, "no expiry",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6IjIwMDAiLCJpc3MiOiJmYW5mYXJlIn0.F-"
     "AfpIXRIb112QyALCs8wQHqggQXdO3WXLoAA_eLWvA"},
    {"exp negative", ERR_FORBIDDEN, "no expiry",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6LTEsImlzcyI6ImZhbmZhcmUifQ.d_"
     "VlCu4VVWwqin4UsS9HQ8wlNtcj0KsnCiVLlFsH3cI"},
    {"exp beyond reason", ERR_FORBIDDEN, "no expiry",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MWUzMDAsImlzcyI6ImZhbmZhcmUifQ."
     "AARG4ZuKQUT5Pa8NsrB4opaVNXB2KrBwZjniJemEFxM"},
    {"other issuer", ERR_FORBIDDEN, "another issuer",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZWxzZXdoZXJlIn0."
     "m0RV4lVDovYgK9CjChqw3l_f_7cVR2pxGjThm2Q0fb8"},
    {"no issuer", ERR_FORBIDDEN, "another issuer",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMH0.6tkbO6Kv6wxdPLjJcEAMsEYLi4F1-AzOuV84WiMyhQE"},
    {"no sub", ERR_FORBIDDEN, "names no user",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJleHAiOjIwMDAsImlzcyI6ImZhbmZhcmUifQ."
     "HD3UlAQdPApfWtOdwLVO4Bw8qntq7oby3dXi5PTd0Jk"},
    {"sub as number", ERR_FORBIDDEN, "names no user",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOjQyLCJleHAiOjIwMDAsImlzcyI6ImZhbmZhcmUifQ."
     "pN8NtHb006vSkQ4WsfrU36mZNBXyYIEEPGbtcmS8Bpw"},
    {"sub no id", ERR_FORBIDDEN, "names no user",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MngiLCJleHAiOjIwMDAsImlzcyI6ImZhbmZhcmUifQ."
     "YseM1A4akz8EXQEcEhFBdT9m8rB-VfZDKePDbm5Ta70"},
    {"sub 0", ERR_FORBIDDEN, "names no user",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiIwIiwiZXhwIjoyMDAwLCJpc3MiOiJmYW5mYXJlIn0."
     "Wd7vrdbGQJzCTuYMzZTiPe2GxdeCWr-r2o_TZfdL0Zk"},
    {"sub too big", ERR_FORBIDDEN, "names no user",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiIxODQ0Njc0NDA3MzcwOTU1MTYxNiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "zI6xn86kK_JpoSYsH5TwyrzVWUeRl5btlBsbEQE5nek"},
    {"claim twice", ERR_FORBIDDEN, "payload",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MSwiZXhwIjoyMDAwLCJpc3MiOiJmYW5mYXJlIn0."
     "DLtiFpzIivO7cJVj23HedFfCCj8avPbc1fNAewOWRpA"},
    {"payload no object", ERR_FORBIDDEN, "payload",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.WyJzdWIiXQ.nXDcHya_T5IkRQc8myt2CYvAFzrM5LrPIxEYJCtP65s"},
    {"payload no JSON", ERR_FORBIDDEN, "payload",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.c3ViPTQy.-4a7_ujd_g3OJijUgY-mVHK3lKRzJu_iz0RXnJMUBCc"},
    {"signed with another key", ERR_FORBIDDEN, "signature",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.Wt2088xyV0CroSM5fm-"
     "3pUrT6hTrn-g0njyVqGHr0W8"},
    {"payload changed", ERR_FORBIDDEN, "signature",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MyIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "VO4ZPoep0EziD0t2tvjzj3OxRoZCPFgb9l1dljYsmoY"},
    {"signature cut", ERR_FORBIDDEN, "signature",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "VO4ZPoep0EziD0t2tvjzj3OxRoZCPFgb9l1dljYsm"},
    {"signature empty", ERR_FORBIDDEN, "signature",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."},
    {"signature padded", ERR_FORBIDDEN, "signature",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "VO4ZPoep0EziD0t2tvjzj3OxRoZCPFgb9l1dljYsmoY="},
    {"alg none", ERR_FORBIDDEN, "algorithm",
     "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."},
    {"alg none without kid", ERR_FORBIDDEN, "not known",
     "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."},
    {"alg in small letters", ERR_FORBIDDEN, "algorithm",
     "eyJhbGciOiJoczI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.y4MZqqKc1qkj_"
     "qG5eC80EnzHmJkxZl3Auqfo9M-q74E"},
    {"alg missing", ERR_FORBIDDEN, "algorithm",
     "eyJraWQiOiJrMSJ9.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.iAn_"
     "VjKLoHxNNz6QnJ0qG3ti9f8FJhWwnj8dssnDafw"},
    {"alg HS256 with the Ed25519 public key as secret", ERR_FORBIDDEN, "algorithm",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsyIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.bKHJa9vagS-"
     "07vaIJalhnhiESv4izTgq1ARKs_eqj2o"},
    {"alg EdDSA for the HMAC key", ERR_FORBIDDEN, "algorithm",
     "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "1FnnY3FlrwediJaUWikjyQOuh38vjNK84yxjdynslv4"},
    {"EdDSA header, HMAC with the public key", ERR_FORBIDDEN, "signature",
     "eyJhbGciOiJFZERTQSIsImtpZCI6ImsyIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.UX-REL_jyACXceSy-"
     "Rx0ikpWm1goF4om-aBkB7c-gvE"},
    {"crit", ERR_FORBIDDEN, "crit",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwiY3JpdCI6WyJleHAiXX0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "5J7790eA9mZ1u-aIBdgBMWa5fEh6TULEfkrpwBwxbuo"},
    {"unknown kid", ERR_FORBIDDEN, "not known",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImszIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.eAxRcicGCXSuIb1-"
     "9SbXdc8wYUkepL5uLvAU2TNLNiM"},
    {"kid no text", ERR_FORBIDDEN, "not known",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6MX0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.-ckQ5_"
     "ZE4cRhEGN4L62kio2K7cy47y_QVYIdbkCJHWo"},
    {"no kid, two keys", ERR_FORBIDDEN, "not known",
     "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.HxZvGEQKsB4PM6Lvt5krgmd_"
     "ZPa34BdbbFcitNSzjgc"},
    {"header no JSON", ERR_FORBIDDEN, "header",
     "YWxn.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.ZLN9YE4zXwwTR9gvGneuc4K1ya2L6OK6FGw6VQQ5P7s"},
    {"header no object", ERR_FORBIDDEN, "header",
     "IkhTMjU2Ig.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.0NQm0vR2jZKfxFzKRQjBjkTshebFMmP3NPa4CM7mF98"},
    {"header padded", ERR_FORBIDDEN, "header",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0=.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "VO4ZPoep0EziD0t2tvjzj3OxRoZCPFgb9l1dljYsmoY"},
    {"stray bits in the signature", ERR_FORBIDDEN, "signature",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9."
     "VO4ZPoep0EziD0t2tvjzj3OxRoZCPFgb9l1dljYsmoZ"},
    {"the other alphabet", ERR_FORBIDDEN, "header",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwieCI6IsO/"
     "w7_Dvz4+Pj8_PyJ9.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.P7cVum8z4eLu_Q_"
     "lDJ9qb8aMaHAJwHoGHJ2XFOwPBmc"},
};

/* One text for one token: the library's decoder would take some bytes above 127 for letters. */
static void a_byte_that_is_no_letter_is_refused_wherever_it_stands(void **state) {
    (void)state;
    CLEANUP(jwt_keys_free) struct jwt_keys *k = make("k1:hs256:" K1, "fanfare");
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    assert_int_equal(jwt_sign(k, 42, 1000, 2000, &token), ERR_OK);
    for (size_t at = 0; at < token.len; at++) {
        char was = token.data[at];
        for (int byte = 128; byte < 256; byte++) {
            uint64_t user = 7, expires = 7;
            const char *why = NULL;
            token.data[at] = (char)byte;
            assert_int_equal(jwt_verify(k, buf_str(&token), 1000, &user, &expires, &why), ERR_FORBIDDEN);
        }
        token.data[at] = was;
    }
}

static void a_user_id_fits_a_signed_number(void **state) {
    (void)state;
    CLEANUP(jwt_keys_free) struct jwt_keys *k = make("k1:hs256:" K1, "fanfare");
    CLEANUP(buf_fini) struct buf most = BUF_INIT, beyond = BUF_INIT;
    uint64_t user = 7, expires = 7;
    const char *why = NULL;
    assert_int_equal(jwt_sign(k, INT64_MAX, 1000, 2000, &most), ERR_OK);
    assert_int_equal(jwt_sign(k, (uint64_t)INT64_MAX + 1, 1000, 2000, &beyond), ERR_OK);
    assert_int_equal(jwt_verify(k, buf_str(&beyond), 1000, &user, &expires, &why), ERR_FORBIDDEN);
    assert_true(user == 7 && strstr(why, "names no user"));
    assert_int_equal(jwt_verify(k, buf_str(&most), 1000, &user, &expires, &why), ERR_OK);
    assert_int_equal(user, INT64_MAX);
}

static void test_table(void **state) {
    (void)state;
    struct jwt_keys *k = make("k1:hs256:" K1 ",k2:ed25519-public:" RFC_POINT, "fanfare");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_verdict(k, cases[i].name, cases[i].token, 1000, cases[i].err, cases[i].why_has);
    jwt_keys_free(&k);
}

/* Every byte of a good token matters, and no change of one goes unseen. */
static void test_every_flipped_byte_is_refused(void **state) {
    (void)state;
    struct jwt_keys *k = make("k1:hs256:" K1, "fanfare");
    CLEANUP(mem_free_charp) char *token = mem_strdup(cases[0].token);
    uint64_t user, expires;
    const char *why;
    for (size_t i = 0; token[i]; i++) {
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(jwt_verify(k, str_c(token), 1000, &user, &expires, &why), ERR_FORBIDDEN);
        token[i] = was;
    }
    assert_int_equal(jwt_verify(k, str_c(token), 1000, &user, &expires, &why), ERR_OK);
    for (size_t len = 0; len < strlen(token); len++)
        assert_int_equal(jwt_verify(k, str_of(token, len), 1000, &user, &expires, &why), ERR_FORBIDDEN);
    jwt_keys_free(&k);
}

static void test_shapes(void **state) {
    (void)state;
    struct jwt_keys *k = make("k1:hs256:" K1, "fanfare");
    static const char *const shapes[] = {"", ".", "..", "...", "a", "a.b", "a.b.c.d", "a.b.c.", ".a.b"};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        uint64_t user, expires;
        const char *why;
        assert_int_equal(jwt_verify(k, str_c(shapes[i]), 1000, &user, &expires, &why), ERR_FORBIDDEN);
    }
    CLEANUP(buf_fini) struct buf big = BUF_INIT;
    while (big.len < 4097) buf_add_c(&big, "A.");
    assert_verdict(k, "big", big.data, 1000, ERR_FORBIDDEN, "longer than 4096");
    jwt_keys_free(&k);
}

/* RFC 7515 appendix A.1: 512-bit key, no kid. The claims name no user, which is found out only once the signature
 * holds. */
static void test_rfc7515_a1(void **state) {
    (void)state;
    struct jwt_keys *k = make("a1:hs256:" RFC_HMAC, "joe");
#define A1_MESSAGE                                                                                                     \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    assert_verdict(k, "A.1", A1_MESSAGE ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", 1300819379, ERR_FORBIDDEN,
                   "names no user");
    assert_verdict(k, "A.1 changed", A1_MESSAGE ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXj", 1300819379,
                   ERR_FORBIDDEN, "signature");
    jwt_keys_free(&k);
}

/* RFC 8037 appendix A.4: the payload is plain text, which is found out only once the signature holds. */
static void test_rfc8037_a4(void **state) {
    (void)state;
    struct jwt_keys *k = make("a4:ed25519-public:" RFC_POINT, NULL);
#define A4_MESSAGE "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
#define A4_SIGNED  "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    assert_verdict(k, "A.4", A4_MESSAGE "." A4_SIGNED, 1000, ERR_FORBIDDEN, "payload is not a JSON object");
    assert_verdict(k, "A.4 changed", A4_MESSAGE "A." A4_SIGNED, 1000, ERR_FORBIDDEN, "signature");
    jwt_keys_free(&k);
}

static void test_one_key_needs_no_kid(void **state) {
    (void)state;
    struct jwt_keys *k = make("k1:hs256:" K1, "fanfare");
    assert_verdict(k, "no kid",
                   "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6MjAwMCwiaXNzIjoiZmFuZmFyZSJ9.HxZvGEQKsB4PM6Lvt5krgmd_"
                   "ZPa34BdbbFcitNSzjgc",
                   1000, ERR_OK, "ok");
    jwt_keys_free(&k);
}

static void round_trip(const char *signer, const char *verifier) {
    struct jwt_keys *a = make(signer, "fanfare"), *b = make(verifier, "fanfare");
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    buf_add_c(&token, "Bearer ");
    assert_int_equal(jwt_sign(a, INT64_MAX, 1000, 2000, &token), ERR_OK);
    uint64_t user, expires;
    const char *why;
    struct str bare = str_of(token.data + 7, token.len - 7);
    assert_int_equal(jwt_verify(b, bare, 1999, &user, &expires, &why), ERR_OK);
    assert_true(user == INT64_MAX);
    assert_int_equal(expires, 2000);
    assert_int_equal(jwt_verify(b, bare, 2000, &user, &expires, &why), ERR_EXPIRED);
    assert_int_equal(strlen(token.data), token.len);
    jwt_keys_free(&a);
    jwt_keys_free(&b);
}

static void test_round_trips(void **state) {
    (void)state;
    round_trip("k1:hs256:" K1, "k1:hs256:" K1);
    round_trip("e:ed25519:" RFC_SEED, "x:hs256:" K1 ",e:ed25519-public:" RFC_POINT);
    round_trip("p:ed25519-public:" RFC_POINT ",quo\"te:hs256:" K1, "quo\"te:hs256:" K1 ",e:ed25519:" RFC_SEED);
}

static void test_public_keys_do_not_sign(void **state) {
    (void)state;
    struct jwt_keys *k = make("p:ed25519-public:" RFC_POINT, "fanfare");
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    assert_int_equal(jwt_sign(k, 1, 2, 3, &token), ERR_INVALID);
    assert_int_equal(token.len, 0);
    jwt_keys_free(&k);
}

static void test_wrong_keys(void **state) {
    (void)state;
    static const struct {
        const char *spec, *message;
    } wrong[] = {
        {"", "token key 1 is not of the form"},
        {"k1:hs256", "token key 1 is not of the form"},
        {":hs256:" K1, "token key 1 has no kid"},
        {"k1:hs256:" K1 ",", "token key 2 is not of the form"},
        {"k1:hs256:" K1 ",k1:hs256:" K1, "token key 2 has the kid of an earlier one"},
        {"k1:hs512:" K1, "token key 1 has an unknown algorithm"},
        {"k1:hs256:" K1 "=", "token key 1 is not base64url"},
        {"k1:hs256:", "token key 1 is not base64url"},
        {"k1:hs256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg", "token key 1 is too short"},
        {"e:ed25519:" RFC_POINT, "token key 1 has the wrong length; ed25519 takes 64"},
        {"e:ed25519-public:" RFC_SEED, "token key 1 has the wrong length; ed25519-public takes 32"},
        {"e:ed25519:nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL_tPJZAc6DuFy89qmIyWvAhpo9wdRGQ",
         "token key 1 has two halves"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct jwt_keys *k = NULL;
        CLEANUP(mem_free_charp) char *message = NULL;
        assert_int_equal(jwt_keys_new(wrong[i].spec, NULL, &k, &message), ERR_INVALID);
        assert_null(k);
        if (strncmp(message, wrong[i].message, strlen(wrong[i].message)) != 0)
            fail_msg("%s: %s", wrong[i].spec, message);
        assert_null(strstr(message, "AAECAwQF")); /* the key is not shown */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_byte_that_is_no_letter_is_refused_wherever_it_stands),
        cmocka_unit_test(a_user_id_fits_a_signed_number),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_flipped_byte_is_refused),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_rfc7515_a1),
        cmocka_unit_test(test_rfc8037_a4),
        cmocka_unit_test(test_one_key_needs_no_kid),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_public_keys_do_not_sign),
        cmocka_unit_test(test_wrong_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
