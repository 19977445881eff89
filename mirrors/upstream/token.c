// SPDX-License-Identifier: Apache-2.0
//
// Token requests and answers, and error bodies: what upstreams say in JSON. Pure.

#include "mirrors/upstream/token.h"

#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_CODE_MAX = 64, SECRET_MIN = 6 };

static bool append_query(CURLU *u, const char *name, const char *value) {
    if (value[0] == '\0')
        return true;
    char *pair = mem_printf("%s=%s", name, value);
    bool ok = curl_url_set(u, CURLUPART_QUERY, pair, CURLU_APPENDQUERY | CURLU_URLENCODE) == CURLUE_OK;
    free(pair);
    return ok;
}

char *token_url(const struct challenge *c, const char *repository) {
    CURLU *u = curl_url();
    char *text = NULL, *result = NULL;
    char *scope = c->scope[0] != '\0' ? mem_strdup(c->scope) : mem_printf("repository:%s:pull", repository);
    if (curl_url_set(u, CURLUPART_URL, c->realm, 0) == CURLUE_OK && append_query(u, "service", c->service) &&
        append_query(u, "scope", scope) && curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK)
        result = mem_strdup(text);
    curl_free(text);
    free(scope);
    curl_url_cleanup(u);
    return result;
}

/// RFC 6750's b64token, and '.' '_' '~' as it allows: nothing that could end a header.
static bool token_clean(const char *token, size_t len) {
    if (len == 0 || len > TOKEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return false;
    return true;
}

static int64_t lifetime_of(const struct json *root) {
    const struct json *expires = json_get(root, "expires_in");
    if (expires == NULL || expires->type != JSON_NUMBER || !expires->is_integer || expires->integer <= 0)
        return TOKEN_LIFETIME_DEFAULT_S;
    return expires->integer > TOKEN_LIFETIME_MAX_S ? TOKEN_LIFETIME_MAX_S : expires->integer;
}

char *token_parse(const char *body, size_t len, int64_t *lifetime_s, struct err *err) {
    struct json *root = json_parse(body, len, JSON_STRICT, NULL);
    const struct json *token = json_get(root, "token");
    if (token == NULL || token->type != JSON_STRING || token->string_len == 0)
        token = json_get(root, "access_token");
    char *result = NULL;
    if (token == NULL || token->type != JSON_STRING) {
        err_set(err, "its token server's answer holds no token");
    } else if (!token_clean(token->string, token->string_len)) {
        err_set(err, "its token server's token is over %d bytes or holds bytes that a header may not have", TOKEN_MAX);
    } else {
        result = mem_strndup(token->string, token->string_len);
        *lifetime_s = lifetime_of(root);
    }
    json_free(root);
    return result;
}

char *token_basic(const char *username, const char *password) {
    char *pair = mem_printf("%s:%s", username, password);
    size_t len = strlen(pair);
    char *coded = mem_alloc(4 * ((len + 2) / 3) + 1);
    EVP_EncodeBlock((unsigned char *)coded, (const unsigned char *)pair, (int)len);
    char *value = mem_printf("Basic %s", coded);
    mem_wipe(pair);
    mem_wipe(coded);
    return value;
}

static const char *first_text(const struct json *object, const char *const *keys) {
    for (; *keys != NULL; keys++) {
        const char *text = json_get_string(object, *keys);
        if (text != NULL && text[0] != '\0')
            return text;
    }
    return NULL;
}

/// C0, DEL, and C1 (U+0080..U+009F: a lead byte 0xc2 and what follows), which steer terminals as well.
static bool is_control(const char *at) {
    const unsigned char *c = (const unsigned char *)at;
    return c[0] < ' ' || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0);
}

/// UTF-8 stays (yajl has checked it); a control character becomes a space.
static void copy_printable(char *out, size_t size, const char *text) {
    size_t n = 0;
    for (; *text != '\0' && n + 1 < size; text++) {
        bool control = is_control(text);
        text += control && (unsigned char)*text == 0xc2;
        out[n++] = control ? ' ' : *text;
    }
    while (n > 0 && ((unsigned char)out[n - 1] & 0xC0) == 0x80 && *text != '\0')
        n--; // Do not end inside a character.
    if (n > 0 && *text != '\0' && ((unsigned char)out[n - 1] & 0xC0) == 0xC0)
        n--;
    out[n] = '\0';
}

/// A word, or something that only machines write?
static bool looks_secret(const char *p, size_t len) {
    bool odd = false;
    for (size_t i = 1; i < len && !odd; i++)
        odd = !((p[i] >= 'a' && p[i] <= 'z') || p[i] == '-' || p[i] == '.');
    return odd && len >= SECRET_MIN;
}

/// Some servers say in an error what they were sent.
static void redact(char *text, const char *scheme) {
    static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=._~-";
    for (char *p = text; (p = strcasestr(p, scheme)) != NULL;) {
        p += strlen(scheme);
        size_t len = strspn(p, token);
        if (looks_secret(p, len))
            memset(p, '*', len);
        p += len;
    }
}

static void copy_code(char *out, const char *code) {
    size_t len = strlen(code);
    if (len <= ERROR_CODE_MAX && strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == len)
        memcpy(out, code, len + 1);
}

void token_error_message(const char *body, size_t len, char *out, size_t size, char *code) {
    static const char *const in_error[] = {"message", "detail", NULL};
    static const char *const in_root[] = {"message", "details", "detail", "error_description", "error", NULL};
    out[0] = '\0';
    if (code != NULL)
        code[0] = '\0';
    struct json *root = json_parse(body, len, JSON_STRICT, NULL);
    const struct json *errors = json_get(root, "errors");
    const struct json *first = errors != NULL && errors->type == JSON_ARRAY ? errors->child : NULL;
    const char *text = first != NULL ? first_text(first, in_error) : first_text(root, in_root);
    const char *word = json_get_string(first, "code");
    if (text != NULL)
        copy_printable(out, size, text);
    redact(out, "basic ");
    redact(out, "bearer ");
    if (word != NULL && code != NULL)
        copy_code(code, word);
    json_free(root);
}
