// SPDX-License-Identifier: Apache-2.0
//
// Reading Authorization.

#include "gateway/identity/credential.h"

#include "gateway/identity/base64.h"
#include "gateway/identity/identity.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void bad(struct credential *out, struct err *err, const char *why) {
    credential_deinit(out);
    out->kind = CREDENTIAL_BAD;
    err_set(err, "%s", why);
}

void credential_deinit(struct credential *c) {
    mem_wipe(c->user);
    mem_wipe(c->secret);
    *c = (struct credential){.kind = CREDENTIAL_NOBODY};
}

bool name_fits(const char *name, size_t len) {
    if (len == 0 || len > CREDENTIAL_USER_MAX)
        return false;
    for (size_t at = 0; at < len;) {
        const unsigned char *s = (const unsigned char *)name + at;
        size_t n = buf_utf8_len(s, len - at);
        bool control = *s < 0x20 || *s == 0x7f || (*s == 0xc2 && n == 2 && s[1] < 0xa0); // C0, DEL, C1.
        if (n == 0 || control)
            return false;
        at += n;
    }
    return true;
}

static size_t token_part(const char *text, size_t len) {
    size_t n = 0;
    while (n < len &&
           (strchr("-_", text[n]) != NULL ? text[n] != '\0'
                                          : (text[n] >= '0' && text[n] <= '9') || (text[n] >= 'A' && text[n] <= 'Z') ||
                                                (text[n] >= 'a' && text[n] <= 'z')))
        n++;
    return n;
}

bool looks_like_jwt(const char *text, size_t len) {
    if (len < 3 || memcmp(text, "eyJ", 3) != 0)
        return false;
    const char *at = text, *end = text + len;
    for (int part = 0; part < 3; part++) {
        size_t n = token_part(at, (size_t)(end - at));
        bool last = part == 2;
        if (n == 0 && !last) // `alg: none` has an empty signature: that is a token too, and refused as one.
            return false;
        at += n;
        if (last ? at != end : at == end || *at++ != '.')
            return false;
    }
    return true;
}

static void of_password(const char *user, size_t user_len, const char *password, size_t password_len,
                        struct credential *out, struct err *err) {
    if (user_len == 0 && password_len == 0)
        return; // podman and its kin, when they have nothing.
    if (looks_like_jwt(password, password_len)) {
        out->kind = CREDENTIAL_TOKEN;
        out->secret = mem_strndup(password, password_len);
        return;
    }
    if (!name_fits(user, user_len))
        return bad(out, err, user_len == 0 ? "a password without a user name" : "a user name that cannot be one");
    if (password_len == 0 || password_len > CREDENTIAL_PASSWORD_MAX || memchr(password, '\0', password_len) != NULL)
        return bad(out, err, "an empty or too long password, or one with a NUL");
    out->kind = CREDENTIAL_PASSWORD;
    out->user = mem_strndup(user, user_len);
    out->secret = mem_strndup(password, password_len);
}

static void parse_basic(const char *text, size_t len, struct credential *out, struct err *err) {
    size_t room = base64_room(len) + 1, decoded_len = 0;
    char *decoded = mem_alloc(room);
    const char *colon = NULL;
    if (len > 0 && base64_decode(BASE64_STANDARD, text, len, decoded, &decoded_len))
        colon = memchr(decoded, ':', decoded_len);
    if (colon == NULL) {
        bad(out, err, "Basic without a user name and password in base64");
    } else {
        size_t user_len = (size_t)(colon - decoded);
        of_password(decoded, user_len, colon + 1, decoded_len - user_len - 1, out, err);
    }
    OPENSSL_cleanse(decoded, room);
    free(decoded);
}

static void parse_bearer(const char *text, size_t len, struct credential *out, struct err *err) {
    if (!looks_like_jwt(text, len))
        return bad(out, err, "Bearer with something that is no JWT");
    out->kind = CREDENTIAL_TOKEN;
    out->secret = mem_strndup(text, len);
}

/// The text after `scheme` and its spaces; NULL: another scheme.
static const char *after_scheme(const char *value, size_t len, const char *scheme, size_t *rest) {
    size_t n = strlen(scheme);
    if (len <= n || strncasecmp(value, scheme, n) != 0 || value[n] != ' ')
        return NULL;
    while (n < len && value[n] == ' ')
        n++;
    *rest = len - n;
    return value + n;
}

void credential_parse(const char *authorization, size_t len, struct credential *out, struct err *err) {
    *out = (struct credential){.kind = CREDENTIAL_NOBODY};
    if (authorization == NULL)
        return;
    if (len > IDENTITY_CREDENTIAL_MAX)
        return bad(out, err, "a credential that is too long");
    size_t rest = 0;
    const char *text = after_scheme(authorization, len, "Basic", &rest);
    if (text != NULL)
        return parse_basic(text, rest, out, err);
    text = after_scheme(authorization, len, "Bearer", &rest);
    if (text != NULL)
        return parse_bearer(text, rest, out, err);
    bad(out, err, "a credential that is neither Basic nor Bearer");
}

void credential_of_fields(const char *user, const char *password, struct credential *out, struct err *err) {
    *out = (struct credential){.kind = CREDENTIAL_NOBODY};
    size_t user_len = strlen(user), password_len = strlen(password);
    if (user_len > IDENTITY_CREDENTIAL_MAX || password_len > IDENTITY_CREDENTIAL_MAX)
        return bad(out, err, "a credential that is too long");
    of_password(user, user_len, password, password_len, out, err);
}

void credential_of_token(const char *token, struct credential *out, struct err *err) {
    *out = (struct credential){.kind = CREDENTIAL_NOBODY};
    size_t len = strlen(token);
    if (len > IDENTITY_CREDENTIAL_MAX)
        return bad(out, err, "a credential that is too long");
    parse_bearer(token, len, out, err);
}
