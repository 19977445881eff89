// SPDX-License-Identifier: Apache-2.0
//
// Looking at a client machine: rooted.h's reading, in the shape that plans want.

#include "gateway/clients/look.h"

#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

bool look_exists(const char *root, const char *path) {
    return rooted_has(root, path);
}

char *look_text(const char *root, const char *path) {
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    char *copy = rooted_look(root, path, &text) ? buf_steal(&text) : NULL;
    buf_deinit(&text);
    return copy;
}

struct conf_document *look_conf(const char *root, const char *path, enum conf_format format) {
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    bool there = rooted_look(root, path, &text);
    struct conf_document *d = there ? conf_parse(format, text.data != NULL ? text.data : "", text.len, NULL) : NULL;
    buf_deinit(&text);
    return d;
}

static bool ends_with(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

void look_names(const char *root, const char *dir, const char *suffix, struct look_names *out) {
    size_t count = 0;
    char **names = rooted_names(root, dir, &count);
    *out = (struct look_names){mem_zalloc(LOOK_NAMES_MAX, sizeof(char *)), 0};
    for (size_t i = 0; i < count && out->count < LOOK_NAMES_MAX; i++)
        if (names[i][0] != '.' && ends_with(names[i], suffix))
            out->paths[out->count++] = mem_printf("%s/%s", dir, names[i]);
    rooted_names_free(names, count);
}

void look_names_free(struct look_names *names) {
    for (size_t i = 0; i < names->count; i++)
        free(names->paths[i]);
    free(names->paths);
    *names = (struct look_names){NULL, 0};
}
