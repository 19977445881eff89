// SPDX-License-Identifier: Apache-2.0
//
// Base64 in the two kinds that credentials come in.

#include "gateway/identity/base64.h"

#include "mirrors/base/mem.h"

#include <stdint.h>
#include <string.h>

static int value_of(enum base64_kind kind, char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (kind == BASE64_URL ? '-' : '+'))
        return 62;
    return c == (kind == BASE64_URL ? '_' : '/') ? 63 : -1;
}

size_t base64_room(size_t len) {
    return len / 4 * 3 + 3;
}

/// The length without padding; false where the padding is not what it has to be.
static bool strip(const char *text, size_t *len) {
    if (*len % 4 != 0)
        return false;
    for (int i = 0; i < 2 && *len > 0 && text[*len - 1] == '='; i++)
        --*len;
    return *len % 4 != 1;
}

bool base64_decode(enum base64_kind kind, const char *text, size_t len, char *out, size_t *out_len) {
    if (kind == BASE64_STANDARD ? !strip(text, &len) : len % 4 == 1)
        return false;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(kind, text[i]);
        if (value < 0)
            return false;
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[at++] = (char)(bits >> have & 0xff);
        }
    }
    out[at] = '\0';
    *out_len = at;
    return (bits & ((1u << have) - 1)) == 0;
}

char *base64_url(const void *data, size_t len) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *bytes = data;
    char *out = mem_alloc(len / 3 * 4 + 5);
    size_t at = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xffff;
        for (have += 8; have >= 6;) {
            have -= 6;
            out[at++] = letters[bits >> have & 63];
        }
    }
    if (have > 0)
        out[at++] = letters[bits << (6 - have) & 63];
    out[at] = '\0';
    return out;
}
