// SPDX-License-Identifier: Apache-2.0
//
// A list of strings.

#include "gateway/doctor/names.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES_TEXT_MAX = 4096 };

void names_add_len(struct names *n, const char *s, size_t len) {
    if (n->count == NAMES_MAX)
        return;
    n->at = mem_resize(n->at, n->count + 1, sizeof *n->at);
    n->at[n->count++] = mem_strndup(s, len);
}

void names_add(struct names *n, const char *s) {
    names_add_len(n, s, strlen(s));
}

bool names_have(const struct names *n, const char *s) {
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->at[i], s) == 0)
            return true;
    return false;
}

void names_add_once(struct names *n, const char *s) {
    if (!names_have(n, s))
        names_add(n, s);
}

void names_split(struct names *n, const char *text, const char *separators) {
    while (*text != '\0') {
        size_t len = strcspn(text, separators);
        const char *begin = text;
        size_t kept = len;
        while (kept > 0 && (*begin == ' ' || *begin == '\t')) {
            begin++;
            kept--;
        }
        while (kept > 0 && (begin[kept - 1] == ' ' || begin[kept - 1] == '\t'))
            kept--;
        if (kept > 0)
            names_add_len(n, begin, kept);
        text += len;
        text += *text != '\0' ? 1 : 0;
    }
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *n) {
    if (n->count > 1)
        qsort(n->at, n->count, sizeof *n->at, compare);
}

char *names_text(const struct names *n, size_t shown) {
    struct buf b;
    buf_init(&b, NAMES_TEXT_MAX);
    for (size_t i = 0; i < n->count && i < shown; i++) {
        bool last = i + 1 == n->count;
        buf_addf(&b, "%s%s", i == 0 ? "" : last ? " and " : ", ", n->at[i]);
    }
    if (n->count > shown)
        buf_addf(&b, " and %zu more", n->count - shown);
    char *text = buf_steal(&b);
    buf_deinit(&b);
    return text;
}

void names_deinit(struct names *n) {
    for (size_t i = 0; i < n->count; i++)
        free(n->at[i]);
    free(n->at);
    *n = (struct names){0};
}
