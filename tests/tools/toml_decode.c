// SPDX-License-Identifier: Apache-2.0
//
// The decoder that toml-test asks for: TOML on standard input, its tagged JSON on standard output, status 1 and a
// sentence for what is no TOML. `./dev test toml` runs it.

#include "gateway/formats/conf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { OUT_MAX = 64 * CONF_TEXT_MAX };

static void add_tagged(struct buf *out, const char *type, const char *s, size_t len) {
    buf_addf(out, "{\"type\":\"%s\",\"value\":", type);
    buf_add_json(out, s, len);
    buf_adds(out, "}");
}

static void add_float(struct buf *out, double number) {
    char text[64];
    int n = isnan(number)   ? snprintf(text, sizeof text, "nan")
            : isinf(number) ? snprintf(text, sizeof text, "%sinf", number < 0 ? "-" : "")
                            : snprintf(text, sizeof text, "%.17g", number);
    add_tagged(out, "float", text, (size_t)n);
}

static void add_integer(struct buf *out, int64_t integer) {
    char text[32];
    int n = snprintf(text, sizeof text, "%lld", (long long)integer);
    add_tagged(out, "integer", text, (size_t)n);
}

static const char *time_type(const struct conf *c) {
    if (c->string[2] == ':')
        return "time-local";
    if (c->string_len == 10)
        return "date-local";
    return strpbrk(c->string + 11, "Zz+-") != NULL ? "datetime" : "datetime-local";
}

// toml-test wants a T between date and time, and a Z.
static void add_time(struct buf *out, const struct conf *c) {
    char text[64];
    size_t n = 0;
    for (; n < c->string_len && n < sizeof text - 1; n++) {
        char s = c->string[n];
        text[n] = s == ' ' || s == 't' ? 'T' : s == 'z' ? 'Z' : s;
    }
    add_tagged(out, time_type(c), text, n);
}

static void add_value(struct buf *out, const struct conf *c);

static void add_members(struct buf *out, const struct conf *c) {
    buf_adds(out, c->type == CONF_TABLE ? "{" : "[");
    for (const struct conf *m = c->child; m != NULL; m = m->next) {
        if (m != c->child)
            buf_adds(out, ",");
        if (m->key != NULL) {
            buf_add_json(out, m->key, m->key_len);
            buf_adds(out, ":");
        }
        add_value(out, m);
    }
    buf_adds(out, c->type == CONF_TABLE ? "}" : "]");
}

static void add_value(struct buf *out, const struct conf *c) {
    switch (c->type) {
    case CONF_BOOL:
        return add_tagged(out, "bool", c->boolean ? "true" : "false", c->boolean ? 4 : 5);
    case CONF_INTEGER:
        return add_integer(out, c->integer);
    case CONF_FLOAT:
        return add_float(out, c->number);
    case CONF_STRING:
        return add_tagged(out, "string", c->string, c->string_len);
    case CONF_TIME:
        return add_time(out, c);
    case CONF_LIST:
    case CONF_TABLE:
        return add_members(out, c);
    case CONF_NULL:
        break;
    }
}

static void read_all(struct buf *text) {
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, stdin)) > 0;)
        buf_add(text, piece, n);
}

int main(void) {
    struct buf text, out;
    struct err err = {0};
    buf_init(&text, CONF_TEXT_MAX + 1);
    buf_init(&out, OUT_MAX);
    read_all(&text);
    struct conf_document *d = conf_parse(CONF_TOML, text.data, text.len, &err);
    if (d != NULL) {
        add_value(&out, conf_root(d));
        puts(out.data);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    bool done = d != NULL && !out.overflow;
    conf_free(d);
    buf_deinit(&text);
    buf_deinit(&out);
    return done ? 0 : 1;
}
