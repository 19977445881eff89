// SPDX-License-Identifier: Apache-2.0
//
// Errors as sentences. The text is composed beside the error before it is copied in, so that a
// sentence may quote the one it replaces. No state; any thread.

#include "mirrors/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Strangers' strings end up in terminals and logs; bytes over 0x7f stay, they may be UTF-8.
static void replace_controls(char *s) {
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c == 0x7f)
            *s = '?';
    }
}

// The first byte of the last character, when the cut may have fallen inside of it.
static void drop_cut_character(char *text, size_t len) {
    size_t start = len;
    while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len - (start - 1) < want)
        text[start - 1] = '\0';
}

static void compose(char *out, const char *format, va_list args) {
    int len = vsnprintf(out, ERR_TEXT_MAX, format, args);
    if (len < 0)
        snprintf(out, ERR_TEXT_MAX, "an error that could not be put into words");
    else if (len >= ERR_TEXT_MAX)
        drop_cut_character(out, ERR_TEXT_MAX - 1);
    replace_controls(out);
}

bool err_set(struct err *err, const char *format, ...) {
    if (err == NULL)
        return false;
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    compose(text, format, args);
    va_end(args);
    memcpy(err->text, text, sizeof text);
    return false;
}

bool err_prefix(struct err *err, const char *format, ...) {
    if (err == NULL)
        return false;
    char prefix[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    compose(prefix, format, args);
    va_end(args);
    return err_set(err, "%s%s", prefix, err->text);
}
