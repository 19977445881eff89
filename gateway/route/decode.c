// SPDX-License-Identifier: Apache-2.0
//
// Percent-decoding and shape of a request target; see decode.h. Each byte is decoded once, before anything is compared,
// and what could be read in two ways (an encoded slash, a dot component, a doubled slash) is an error.

#include "gateway/route/decode.h"

#include <string.h>

static bool is_printable(unsigned char c) {
    return c > 0x20 && c < 0x7f;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/// Decode `len` bytes into `out`, which has as much room. False on bad percent-encoding.
static bool percent_decode(const char *s, size_t len, char *out, size_t *out_len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] != '%') {
            out[n++] = s[i];
            continue;
        }
        int high = i + 2 < len ? hex_value(s[i + 1]) : -1;
        int low = i + 2 < len ? hex_value(s[i + 2]) : -1;
        if (high < 0 || low < 0)
            return false;
        out[n++] = (char)(high << 4 | low);
        i += 2;
    }
    *out_len = n;
    return true;
}

static bool check_raw(const char *target, size_t len, struct err *err) {
    if (len > ROUTE_TARGET_MAX)
        return err_set(err, "the request target has %zu bytes; at most %d are read", len, ROUTE_TARGET_MAX);
    if (len == 0 || target[0] != '/')
        return err_set(err, "the request target must be a path that begins with '/'");
    for (size_t i = 0; i < len; i++) {
        if (!is_printable((unsigned char)target[i]))
            return err_set(err, "the request target holds byte 0x%02x, which must be percent-encoded",
                           (unsigned)(unsigned char)target[i]);
        if (target[i] == '#')
            return err_set(err, "the request target holds a fragment ('#')");
    }
    return true;
}

static bool check_component(const char *s, size_t len, struct err *err) {
    if (len == 0)
        return err_set(err, "the path holds an empty component ('//')");
    if ((len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.'))
        return err_set(err, "the path holds the component '%.*s'", (int)len, s);
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '/')
            return err_set(err, "the path holds an encoded slash (%%2F)");
        if (!is_printable((unsigned char)s[i]))
            return err_set(err, "the path holds the encoded byte 0x%02x", (unsigned)(unsigned char)s[i]);
    }
    return true;
}

/// `s` is the raw path after its first slash.
static bool decode_path(const char *s, size_t len, struct request_target *out, struct err *err) {
    if (len > 0 && s[len - 1] == '/') {
        out->trailing_slash = true;
        len--;
    }
    const char *end = s + len;
    // Only the bare "/" has no component at all; "//" is left with an empty one, because its slash was stripped above.
    if (len == 0 && !out->trailing_slash)
        return true;
    for (;;) {
        const char *slash = memchr(s, '/', (size_t)(end - s));
        size_t raw_len = (size_t)((slash ? slash : end) - s);
        char *component = out->path + out->path_len;
        size_t decoded = 0;
        if (!percent_decode(s, raw_len, component, &decoded))
            return err_set(err, "the path holds bad percent-encoding");
        if (!check_component(component, decoded, err))
            return false;
        out->path_len += decoded;
        if (!slash)
            break;
        out->path[out->path_len++] = '/';
        s = slash + 1;
    }
    out->path[out->path_len] = '\0';
    return true;
}

static struct param *param_find(struct request_target *out, const char *name, size_t len) {
    static const char *const names[PARAM_COUNT] = {"ns", "n", "last", "artifactType"};
    for (size_t i = 0; i < PARAM_COUNT; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return &out->params[i];
    return NULL;
}

/// One "name=value"; `room` is where it may be decoded to. Gives the bytes that were used.
static bool decode_param(const char *s, size_t len, char *room, size_t *used, struct request_target *out) {
    const char *equals = memchr(s, '=', len);
    size_t name_raw = equals ? (size_t)(equals - s) : len;
    size_t name_len = 0;
    size_t value_len = 0;
    if (!percent_decode(s, name_raw, room, &name_len))
        return false;
    char *value = room + name_len;
    if (equals && !percent_decode(equals + 1, len - name_raw - 1, value, &value_len))
        return false;
    *used = name_len + value_len;
    struct param *p = param_find(out, room, name_len);
    if (!p)
        return true;
    p->count++;
    p->value = value;
    p->len = value_len;
    return true;
}

static bool decode_query(const char *s, size_t len, struct request_target *out, struct err *err) {
    const char *end = s + len;
    size_t at = 0;
    for (;;) {
        const char *amp = memchr(s, '&', (size_t)(end - s));
        size_t used = 0;
        if (!decode_param(s, (size_t)((amp ? amp : end) - s), out->values + at, &used, out))
            return err_set(err, "the query holds bad percent-encoding");
        at += used;
        if (!amp)
            return true;
        s = amp + 1;
    }
}

bool request_target_decode(const char *target, size_t len, struct request_target *out, struct err *err) {
    out->path[0] = '\0';
    out->path_len = 0;
    out->trailing_slash = false;
    memset(out->params, 0, sizeof out->params);
    if (!check_raw(target, len, err))
        return false;
    const char *question = memchr(target, '?', len);
    size_t path_len = question ? (size_t)(question - target) : len;
    if (!decode_path(target + 1, path_len - 1, out, err))
        return false;
    return !question || decode_query(question + 1, len - path_len - 1, out, err);
}
