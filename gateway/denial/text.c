// SPDX-License-Identifier: Apache-2.0
//
// See text.h.

#include "gateway/denial/text.h"

#include <stdint.h>
#include <string.h>

/// Decode one character of UTF-8 (shortest form, no surrogates); its length, 0 when invalid.
static size_t utf8_decode(const char *s, size_t len, uint32_t *character) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (len == 0)
        return 0;
    unsigned char first = (unsigned char)s[0];
    *character = first;
    if (first < 0x80)
        return 1;
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || n > len)
        return 0;
    uint32_t c = first & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *character = c;
    return n;
}

static bool is_printable(uint32_t c) {
    if (c < 0x20 || (c >= 0x7f && c < 0xa0))
        return false;
    if (c == 0x200e || c == 0x200f || c == 0x061c || c == 0xfeff)
        return false;
    return !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

size_t text_char(const char *s, size_t len) {
    uint32_t c = 0;
    size_t n = utf8_decode(s, len, &c);
    return n > 0 && is_printable(c) ? n : 0;
}

size_t text_skip(const char *s, size_t len) {
    uint32_t c = 0;
    size_t n = utf8_decode(s, len, &c);
    return n > 0 ? n : 1;
}

size_t text_copy(const char *s, char *out, size_t size, bool *whole) {
    size_t len = strlen(s);
    size_t used = 0;
    while (len > 0) {
        size_t n = text_char(s, len);
        size_t step = n ? n : text_skip(s, len);
        if (used + (n ? n : 1) >= size)
            break;
        if (n)
            memcpy(out + used, s, n);
        else
            out[used] = (*s == '\t' || *s == '\n' || *s == '\r') ? ' ' : '?';
        used += n ? n : 1;
        s += step;
        len -= step;
    }
    out[used] = '\0';
    if (whole)
        *whole = len == 0;
    return used;
}

size_t text_shorten(char *s, size_t max) {
    static const char dots[] = "...";
    size_t len = strlen(s);
    if (len <= max)
        return len;
    size_t tail = max >= sizeof dots - 1 ? sizeof dots - 1 : 0;
    size_t keep = max - tail;
    while (keep > 0 && ((unsigned char)s[keep] & 0xc0) == 0x80)
        keep--;
    memcpy(s + keep, dots, tail);
    s[keep + tail] = '\0';
    return keep + tail;
}
