// SPDX-License-Identifier: Apache-2.0
//
// Tokens of a site's issuer: every way in which one can be wrong.

#include "gateway/identity/oidc.h"
#include "mirrors/base/mem.h"
#include "tests/unit/jwt_kit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const int64_t now = 2000000000;
static const struct oidc_settings settings = {
    .issuer = "https://login.example.com", .audience = "pullgate", .name_claim = "email", .groups_claim = "groups"};

#define BASE "\"iss\":\"https://login.example.com\",\"aud\":\"pullgate\",\"exp\":2000000300,\"iat\":2000000000"
#define NAME ",\"email\":\"alice@example.com\""

/// "" and the name, or the reason.
static char *judged(const struct jwks *keys, const char *token, char **name) {
    struct err err = {""};
    struct token_claims c = {0};
    struct jwt t;
    *name = NULL;
    if (jwt_parse(token, strlen(token), &t, &err)) {
        if (oidc_verify(&settings, keys, &t, now, &c, &err))
            *name = mem_strdup(c.name);
        jwt_deinit(&t);
    }
    token_claims_deinit(&c);
    return mem_strdup(err.text);
}

static void expect(const struct jwks *keys, char *token, const char *says, const char *why) {
    char *name, *text = judged(keys, token, &name);
    if (says == NULL)
        cr_expect(name != NULL && text[0] == '\0', "%s: %s", why, text);
    else
        cr_expect(name == NULL && strstr(text, says) != NULL, "%s: \"%s\" has no \"%s\"", why, text, says);
    free(name);
    free(text);
    free(token);
}

static struct jwks *set_of(char *text) {
    struct err err = {""};
    struct jwks *s = jwks_parse(text, strlen(text), &err);
    cr_assert_not_null(s, "%s", err.text);
    free(text);
    return s;
}

Test(oidc, algorithms) {
    static const struct {
        enum kit_type type;
        const char *alg, *more, *says, *why;
    } rows[] = {
        {KIT_RSA, "RS256", "", NULL, "RS256"},
        {KIT_RSA, "RS384", "", NULL, "RS384"},
        {KIT_RSA, "RS512", "", NULL, "RS512"},
        {KIT_RSA, "PS256", "", NULL, "PS256"},
        {KIT_RSA, "PS384", "", NULL, "PS384"},
        {KIT_RSA, "PS512", "", NULL, "PS512"},
        {KIT_P256, "ES256", "", NULL, "ES256"},
        {KIT_P384, "ES384", "", NULL, "ES384"},
        {KIT_ED25519, "EdDSA", "", NULL, "EdDSA"},
        {KIT_RSA, "RS256", "\"alg\":\"RS256\",\"use\":\"sig\",", NULL, "a key that says what it is for"},
        {KIT_RSA, "PS256", "\"alg\":\"RS256\",", "algorithm", "a key that is for RS256 only"},
        {KIT_RSA, "RS256", "\"key_ops\":[\"verify\"],", NULL, "a key with its operations"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kit_key *k = kit_key_new(rows[i].type);
        struct jwks *s = set_of(kit_jwks(kit_jwk(k, "k1", rows[i].more), NULL));
        char *header = mem_printf("{\"alg\":\"%s\",\"kid\":\"k1\",\"typ\":\"JWT\"}", rows[i].alg);
        char *token = kit_token(k, rows[i].alg, NULL, header, "{" BASE NAME "}");
        char *spoilt = mem_strdup(token);
        size_t at = (size_t)(strrchr(spoilt, '.') - spoilt) + 5;
        spoilt[at] = spoilt[at] == 'A' ? 'B' : 'A';
        expect(s, token, rows[i].says, rows[i].why);
        expect(s, spoilt, rows[i].says != NULL ? rows[i].says : "signature", rows[i].why);
        free(header);
        jwks_unref(s);
        kit_key_free(k);
    }
}

Test(oidc, confusion) {
    struct kit_key *rsa = kit_key_new(KIT_RSA), *ec = kit_key_new(KIT_P256), *ed = kit_key_new(KIT_ED25519);
    struct jwks *s = set_of(kit_jwks(kit_jwk(rsa, "r", ""), kit_jwk(ec, "e", ""), kit_jwk(ed, "d", ""), NULL));
    char *pem = kit_pem(rsa), *claims = mem_strdup("{" BASE NAME "}");
    expect(s, kit_token(rsa, "HS256", pem, "{\"alg\":\"HS256\",\"kid\":\"r\"}", claims), "HS256",
           "HS256 with the RSA key's PEM as its secret");
    expect(s, kit_token(rsa, "HS256", pem, "{\"alg\":\"hs256\",\"kid\":\"r\"}", claims), "hs256", "in other letters");
    expect(s, kit_token(rsa, "HS256", pem, "{\"alg\":\"RS256\",\"kid\":\"r\"}", claims), "signature",
           "an HMAC that is called RS256");
    expect(s, kit_token(rsa, "none", NULL, "{\"alg\":\"none\"}", claims), "none", "alg none");
    expect(s, kit_token(rsa, "none", NULL, "{\"alg\":\"NoNe\",\"kid\":\"r\"}", claims), "NoNe", "alg NoNe");
    expect(s, kit_token(rsa, "none", NULL, "{\"alg\":\"RS256\",\"kid\":\"r\"}", claims), "signature", "no signature");
    expect(s, kit_token(ec, "ES256", NULL, "{\"alg\":\"ES256\",\"kid\":\"r\"}", claims), "algorithm",
           "an EC algorithm for an RSA key's id");
    expect(s, kit_token(rsa, "RS256", NULL, "{\"alg\":\"RS256\",\"kid\":\"e\"}", claims), "algorithm",
           "an RSA algorithm for an EC key's id");
    expect(s, kit_token(ec, "ES256", NULL, "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", claims), "signature",
           "an EC signature for an Ed25519 key");
    expect(s, kit_token(ec, "ES256", NULL, "{\"alg\":\"ES512\",\"kid\":\"e\"}", claims), "algorithm", "ES512");
    expect(s, kit_token(rsa, "RS256", NULL, "{\"alg\":\"RS256\",\"kid\":\"x\"}", claims), "unknown key id", "unknown");
    expect(s, kit_token(rsa, "RS256", NULL, "{\"alg\":\"RS256\",\"kid\":\"../r\"}", claims), "unknown key id",
           "a path");
    expect(s, kit_token(rsa, "RS256", NULL, "{\"alg\":\"RS256\"}", claims), NULL, "no id, and one key that fits");
    char *embedded = kit_jwk(rsa, "r", ""),
         *header = mem_printf("{\"alg\":\"RS256\",\"kid\":\"r\",\"jwk\":%s}", embedded);
    expect(s, kit_token(rsa, "RS256", NULL, header, claims), "jwk", "a key of its own");
    free(embedded);
    free(header);
    free(pem);
    free(claims);
    jwks_unref(s);
    kit_key_free(rsa), kit_key_free(ec), kit_key_free(ed);
}

Test(oidc, headers) {
    static const struct {
        const char *header, *says, *why;
    } rows[] = {
        {"{\"alg\":\"ES256\",\"kid\":\"k\",\"crit\":[\"b64\"]}", "crit", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\",\"jku\":\"https://evil.example/\"}", "jku", "keys from elsewhere"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\",\"x5u\":\"https://evil.example/\"}", "x5u", "a certificate from elsewhere"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\",\"zip\":\"DEF\"}", "zip", "compressed"},
        {"{\"alg\":\"ES256\",\"alg\":\"none\",\"kid\":\"k\"}", "cannot be read", "two algorithms"},
        {"{\"kid\":\"k\"}", "without an algorithm", "none named"},
        {"{\"alg\":256,\"kid\":\"k\"}", "without an algorithm", "a number"},
        {"{\"alg\":\"ES256\",\"kid\":7}", "key id", "an id that is a number"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\\u0000\"}", "cannot be read", "a NUL in the id"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":[]}", "typ", "a type that is a list"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\"} x", "cannot be read", "something behind it"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\",\"x5c\":[\"AA\"],\"x5t\":\"AA\"}", NULL, "certificates that nobody asks"},
    };
    struct kit_key *k = kit_key_new(KIT_P256);
    struct jwks *s = set_of(kit_jwks(kit_jwk(k, "k", ""), NULL));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(s, kit_token(k, "ES256", NULL, rows[i].header, "{" BASE NAME "}"), rows[i].says, rows[i].why);
    jwks_unref(s);
    kit_key_free(k);
}

Test(oidc, not_base64) {
    struct kit_key *k = kit_key_new(KIT_P256);
    struct jwks *s = set_of(kit_jwks(kit_jwk(k, "k", ""), NULL));
    expect(s, mem_strdup("eyJhbGciOiJFUzI1NiJ9.eyJ9x.AAAA"), "cannot be read", "five letters stand for no bytes");
    expect(s, mem_strdup("eyJhbGciOiJFUzI1NiJ9.e31.AAAA"), "cannot be read", "bits behind the last byte");
    expect(s, mem_strdup("eyJhbGciOiJFUzI1NiJ9x.e30.AAAA"), "cannot be read", "the header");
    jwks_unref(s);
    kit_key_free(k);
}

#define ISS "\"iss\":\"https://login.example.com\""
#define AUD ",\"aud\":\"pullgate\""
#define EXP ",\"exp\":2000000300"

Test(oidc, claims) {
    static const struct {
        const char *claims, *says, *why;
    } rows[] = {
        {"{" BASE NAME ",\"groups\":[\"a\",\"b\"]}", NULL, "with groups"},
        {"{" ISS AUD EXP NAME "}", NULL, "without iat"},
        {"{" ISS ",\"aud\":[\"x\",\"pullgate\"]" EXP NAME "}", NULL, "one of several audiences"},
        {"{" ISS AUD ",\"exp\":1999999950" NAME "}", NULL, "ended 50 s ago: clocks differ"},
        {"{" ISS AUD ",\"exp\":1999999940" NAME "}", "expired", "ended 60 s ago"},
        {"{" ISS AUD ",\"exp\":2000000300.5" NAME "}", NULL, "a fraction of a second"},
        {"{" ISS AUD EXP ",\"nbf\":2000000060" NAME "}", NULL, "valid in 60 s: clocks differ"},
        {"{" ISS AUD EXP ",\"nbf\":2000000061" NAME "}", "not valid yet", "valid in 61 s"},
        {"{" ISS AUD EXP ",\"iat\":2000000061" NAME "}", "not valid yet", "made in the future"},
        {"{" ISS AUD EXP ",\"nbf\":\"soon\"" NAME "}", "no time", "nbf that is a text"},
        {"{" ISS AUD NAME "}", "without an end", "no end"},
        {"{" ISS AUD ",\"exp\":\"2000000300\"" NAME "}", "without an end", "an end that is a text"},
        {"{" ISS AUD ",\"exp\":1e400" NAME "}", "", "an end past every number"},
        {"{" ISS AUD ",\"exp\":-1" NAME "}", "without an end", "an end before time"},
        {"{" ISS AUD ",\"exp\":null" NAME "}", "without an end", "an end that is null"},
        {"{" ISS ",\"aud\":\"other\"" EXP NAME "}", "audience", "another audience"},
        {"{" ISS ",\"aud\":\"pullgate2\"" EXP NAME "}", "audience", "an audience that begins so"},
        {"{" ISS EXP NAME "}", "audience", "no audience"},
        {"{" ISS ",\"aud\":{\"pullgate\":1}" EXP NAME "}", "audience", "an audience that is an object"},
        {"{" ISS ",\"aud\":[\"pullgate\",7]" EXP NAME "}", "audience", "an audience with a number in it"},
        {"{" ISS ",\"aud\":\"pullgate\\u0000x\"" EXP NAME "}", "cannot be read", "a NUL in the audience"},
        {"{\"iss\":\"https://login.example.com/\"" AUD EXP NAME "}", "issuer", "a slash more"},
        {"{\"iss\":\"https://evil.example\"" AUD EXP NAME "}", "issuer", "another issuer"},
        {"{\"iss\":7" AUD EXP NAME "}", "issuer", "an issuer that is a number"},
        {"{" AUD "}", "cannot be read", "no JSON"},
        {"{" BASE "}", "no name", "no name"},
        {"{" BASE ",\"email\":\"\"}", "no name", "an empty name"},
        {"{" BASE ",\"email\":[\"a\"]}", "no name", "a name that is a list"},
        {"{" BASE ",\"email\":\"a\\nb\"}", "no name", "a line break in the name"},
        {"{" BASE ",\"email\":\"alice\\u0000@evil\"}", "cannot be read", "a NUL in the name"},
        {"{" BASE ",\"email\":\"a\",\"email\":\"b\"}", "cannot be read", "two names"},
        {"{" BASE NAME ",\"email_verified\":false}", "not verified", "an address that anybody may have claimed"},
        {"{" BASE NAME ",\"email_verified\":\"true\"}", "not verified", "a text is no yes"},
        {"{" BASE NAME ",\"email_verified\":true}", NULL, "a verified address"},
        {"{" BASE NAME ",\"groups\":\"admins\"}", "groups", "groups that are a text"},
        {"{" BASE NAME ",\"groups\":[\"a\",7]}", "groups", "a group that is a number"},
        {"{" BASE NAME ",\"groups\":[\"a\\tb\"]}", "groups", "a tab in a group"},
        {"{" BASE NAME ",\"groups\":null}", NULL, "no groups, said as null"},
        {"[]", "not an object", "claims that are a list"},
    };
    struct kit_key *k = kit_key_new(KIT_P256);
    struct jwks *s = set_of(kit_jwks(kit_jwk(k, "k", ""), NULL));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(s, kit_token(k, "ES256", NULL, "{\"alg\":\"ES256\",\"kid\":\"k\"}", rows[i].claims), rows[i].says,
               rows[i].why);
    jwks_unref(s);
    kit_key_free(k);
}

Test(oidc, sizes) {
    struct kit_key *k = kit_key_new(KIT_P256);
    struct jwks *s = set_of(kit_jwks(kit_jwk(k, "k", ""), NULL));
    char *many = mem_strdup("\"g\"");
    for (int i = 0; i < IDENTITY_GROUPS_MAX; i++) {
        char *more = mem_printf("%s,\"g\"", many);
        free(many);
        many = more;
    }
    char *claims = mem_printf("{" BASE NAME ",\"groups\":[%s]}", many);
    expect(s, kit_token(k, "ES256", NULL, "{\"alg\":\"ES256\",\"kid\":\"k\"}", claims), "groups", "a group too many");
    free(claims);
    char *padding = mem_alloc(JWT_MAX);
    memset(padding, 'a', JWT_MAX - 1);
    padding[JWT_MAX - 1] = '\0';
    claims = mem_printf("{" BASE NAME ",\"x\":\"%s\"}", padding);
    expect(s, kit_token(k, "ES256", NULL, "{\"alg\":\"ES256\",\"kid\":\"k\"}", claims), "too long", "16 KiB");
    padding[300] = '\0';
    free(claims);
    claims = mem_printf("{" BASE ",\"email\":\"%s\"}", padding);
    expect(s, kit_token(k, "ES256", NULL, "{\"alg\":\"ES256\",\"kid\":\"k\"}", claims), "no name",
           "a name of 300 letters");
    free(padding);
    free(claims);
    free(many);
    jwks_unref(s);
    kit_key_free(k);
}

Test(oidc, key_sets) {
    struct kit_key *k = kit_key_new(KIT_P256), *small = kit_key_new(KIT_RSA_SMALL);
    struct {
        char *text;
        const char *says, *why;
    } rows[] = {
        {kit_jwks(kit_jwk(k, "a", ""), NULL), NULL, "one"},
        {kit_jwks(mem_strdup("{\"kty\":\"oct\",\"k\":\"AAAA\"}"), kit_jwk(k, "a", ""), NULL), NULL,
         "one beside a secret"},
        {kit_jwks(mem_strdup("{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"a\"}"), NULL), "fit", "only a secret"},
        {kit_jwks(kit_jwk(small, "a", ""), NULL), "1024 bits", "RSA of 1024 bits"},
        {kit_jwks(kit_jwk(k, "a", "\"use\":\"enc\","), NULL), "fit", "a key for encrypting"},
        {kit_jwks(kit_jwk(k, "a", "\"key_ops\":[\"sign\"],"), NULL), "fit", "a key for signing"},
        {kit_jwks(mem_strdup("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}"), NULL), "point",
         "no point"},
        {kit_jwks(mem_strdup("{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}"), NULL), "curve",
         "another curve"},
        {kit_jwks(mem_strdup("{\"kty\":\"RSA\",\"n\":\"!!\",\"e\":\"AQAB\"}"), NULL), "modulus", "no base64"},
        {kit_jwks(mem_strdup("7"), NULL), "fit", "a number"},
        {mem_strdup("{\"keys\":{}}"), "no key set", "no list"},
        {mem_strdup("{}"), "no key set", "nothing"},
        {mem_strdup("<html>"), "", "a page of a portal"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {""};
        struct jwks *s = jwks_parse(rows[i].text, strlen(rows[i].text), &err);
        cr_expect((s != NULL) == (rows[i].says == NULL), "%s: %s", rows[i].why, err.text);
        if (rows[i].says != NULL)
            cr_expect(err.text[0] != '\0' && strstr(err.text, rows[i].says) != NULL, "%s: \"%s\" has no \"%s\"",
                      rows[i].why, err.text, rows[i].says);
        jwks_unref(s);
        free(rows[i].text);
    }
    kit_key_free(k);
    kit_key_free(small);
}
