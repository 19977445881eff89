// SPDX-License-Identifier: Apache-2.0
//
// A growable string with a bound. An addition fits whole or is dropped whole; once one was dropped,
// all later ones are. Each buffer belongs to one thread.

#include "mirrors/base/buf.h"

#include "mirrors/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST_CAP = 128 };

void buf_init(struct buf *b, size_t max) {
    // One byte is kept for the NUL.
    *b = (struct buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void buf_deinit(struct buf *b) {
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b) {
    b->len = 0;
    b->overflow = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

static size_t grown_cap(const struct buf *b, size_t need) {
    size_t cap = b->cap < BUF_FIRST_CAP ? BUF_FIRST_CAP : b->cap;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    size_t most = b->max + 1;
    return cap > most ? most : cap;
}

// Room for `len` more bytes and the NUL.
static bool reserve(struct buf *b, size_t len) {
    if (b->overflow || len > b->max - b->len) {
        b->overflow = true;
        return false;
    }
    size_t need = b->len + len + 1;
    if (need > b->cap) {
        b->cap = grown_cap(b, need);
        b->data = mem_resize(b->data, b->cap, 1);
    }
    return true;
}

bool buf_add(struct buf *b, const void *data, size_t len) {
    if (!reserve(b, len))
        return false;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return true;
}

bool buf_adds(struct buf *b, const char *s) {
    return buf_add(b, s, strlen(s));
}

bool buf_addf(struct buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        b->overflow = true;
        return false;
    }
    if (!reserve(b, (size_t)len))
        return false;
    va_start(args, format);
    vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (size_t)len;
    return true;
}

static bool is_continuation(const unsigned char *s, size_t at, size_t len) {
    return at < len && (s[at] & 0xc0) == 0x80;
}

// Unicode's table 3-7.
size_t buf_utf8_len(const unsigned char *s, size_t len) {
    if (len == 0)
        return 0;
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4 || !is_continuation(s, 1, len))
        return 0;
    if (c < 0xe0)
        return 2;
    bool overlong = (c == 0xe0 && s[1] < 0xa0) || (c == 0xf0 && s[1] < 0x90);
    bool surrogate = c == 0xed && s[1] > 0x9f;
    bool beyond = c == 0xf4 && s[1] > 0x8f;
    if (overlong || surrogate || beyond || !is_continuation(s, 2, len))
        return 0;
    if (c < 0xf0)
        return 3;
    return is_continuation(s, 3, len) ? 4 : 0;
}

static const char *short_escape(unsigned char c) {
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

static bool needs_escape(unsigned char c) {
    return c < 0x20 || c == 0x7f || c == '"' || c == '\\';
}

static void add_escaped(struct buf *b, unsigned char c) {
    const char *escape = short_escape(c);
    if (escape != NULL)
        buf_adds(b, escape);
    else
        buf_addf(b, "\\u%04x", c);
}

// C1 controls (U+0080..U+009F) steer some terminals as well as C0 does.
static bool is_c1(const unsigned char *s, size_t character) {
    return character == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

// Eight characters at a time, which is most of what there is: all of them ASCII that needs no escape? Each test sets
// the high bit of a byte that fails it; a borrow or carry comes only from such a byte.
static bool eight_plain(const unsigned char *s) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t w;
    memcpy(&w, s, sizeof w);
    uint64_t control = w - ones * 0x20, quote = (w ^ ones * '"') - ones, backslash = (w ^ ones * '\\') - ones;
    uint64_t del = w + ones;
    return ((w | control | quote | backslash | del) & ones << 7) == 0;
}

static size_t plain_run(const unsigned char *s, size_t len) {
    size_t run = 0;
    while (run + 8 <= len && eight_plain(s + run))
        run += 8;
    while (run < len && !needs_escape(s[run])) {
        size_t character = buf_utf8_len(s + run, len - run);
        if (character == 0 || is_c1(s + run, character))
            break;
        run += character;
    }
    return run;
}

// Consume what plain_run() stopped at; returns its bytes.
static size_t add_special(struct buf *b, const unsigned char *s, size_t len) {
    if (needs_escape(s[0])) {
        add_escaped(b, s[0]);
        return 1;
    }
    if (buf_utf8_len(s, len) == 2) {
        buf_addf(b, "\\u%04x", s[1]);
        return 2;
    }
    buf_adds(b, "\xef\xbf\xbd");
    return 1;
}

bool buf_add_json(struct buf *b, const char *text, size_t len) {
    size_t before = b->len;
    if (!buf_adds(b, "\""))
        return false;
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0;
    while (at < len && !b->overflow) {
        size_t run = plain_run(s + at, len - at);
        buf_add(b, s + at, run);
        at += run;
        if (at < len)
            at += add_special(b, s + at, len - at);
    }
    buf_adds(b, "\"");
    if (b->overflow) {
        b->len = before;
        b->data[b->len] = '\0';
    }
    return !b->overflow;
}

char *buf_steal(struct buf *b) {
    char *data = b->data != NULL ? b->data : mem_strdup("");
    *b = (struct buf){.max = b->max};
    return data;
}
