// SPDX-License-Identifier: Apache-2.0
//
// Reading application/x-www-form-urlencoded.

#include "gateway/identity/ask.h"

#include "mirrors/base/mem.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// Fresh memory; NULL: a bad percent sign, or a NUL.
static char *decode(const char *text, size_t len) {
    char *out = mem_alloc(len + 1);
    size_t at = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < len; i++) {
        int c = text[i] == '+' ? ' ' : (unsigned char)text[i];
        if (text[i] == '%') {
            int high = i + 2 < len ? hex(text[i + 1]) : -1, low = i + 2 < len ? hex(text[i + 2]) : -1;
            ok = high >= 0 && low >= 0;
            c = ok ? high * 16 + low : 0;
            i += 2;
        }
        ok = ok && c != 0;
        out[at++] = (char)c;
    }
    out[at < len ? at : len] = '\0';
    if (ok)
        return out;
    OPENSSL_cleanse(out, len);
    free(out);
    return NULL;
}

static bool take(struct ask *a, const char *name, char *value, struct err *err) {
    struct {
        const char *name;
        char **into;
    } const once[] = {{"grant_type", &a->grant_type},
                      {"username", &a->username},
                      {"password", &a->password},
                      {"refresh_token", &a->refresh_token}};
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) {
        if (strcmp(name, once[i].name) != 0)
            continue;
        if (*once[i].into != NULL) {
            mem_wipe(value);
            return err_set(err, "%s is given twice", name);
        }
        *once[i].into = value;
        return true;
    }
    if (strcmp(name, "scope") == 0) {
        if (a->scopes.len > 0)
            buf_adds(&a->scopes, " ");
        buf_adds(&a->scopes, value);
    }
    mem_wipe(value);
    return !a->scopes.overflow || err_set(err, "too much scope is asked for");
}

static bool read_one(struct ask *a, const char *text, size_t len, struct err *err) {
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - text) : len;
    const char *value_at = equals != NULL ? equals + 1 : text + len;
    char *name = decode(text, name_len), *value = decode(value_at, (size_t)(text + len - value_at));
    bool ok = name != NULL && value != NULL;
    if (ok) {
        ok = take(a, name, value, err);
    } else {
        mem_wipe(value);
        err_set(err, "a parameter is not encoded rightly");
    }
    free(name);
    return ok;
}

bool ask_parse(const char *text, size_t len, struct ask *out, struct err *err) {
    *out = (struct ask){0};
    buf_init(&out->scopes, ASK_SCOPES_TEXT_MAX);
    size_t count = 0;
    bool ok = len <= ASK_TEXT_MAX || err_set(err, "the request is too long");
    for (size_t at = 0; ok && at < len;) {
        const char *end = memchr(text + at, '&', len - at);
        size_t n = end != NULL ? (size_t)(end - text) - at : len - at;
        if (++count > ASK_PARAMETERS_MAX)
            ok = err_set(err, "there are too many parameters");
        else if (n > 0)
            ok = read_one(out, text + at, n, err);
        at += n + 1;
    }
    if (!ok)
        ask_deinit(out);
    return ok;
}

void ask_deinit(struct ask *a) {
    free(a->grant_type);
    free(a->username);
    mem_wipe(a->password);
    mem_wipe(a->refresh_token);
    buf_deinit(&a->scopes);
    *a = (struct ask){0};
}
