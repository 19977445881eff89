// SPDX-License-Identifier: Apache-2.0
//
// Which entries of an index are for which platforms.

#include "gateway/upkeep/inside.h"

#include <stdio.h>
#include <string.h>

enum { PLATFORM_TEXT_MAX = 256 };

static const struct json *find_entry(const struct json *index, const char *digest) {
    const struct json *list = json_get(index, "manifests");
    const struct json *entry = list != NULL && list->type == JSON_ARRAY ? list->child : NULL;
    for (; entry != NULL; entry = entry->next) {
        const char *its = json_get_string(entry, "digest");
        if (its != NULL && strcmp(its, digest) == 0)
            return entry;
    }
    return NULL;
}

/// "os/architecture" and, where there is one, "/variant"; "" where nothing is said.
static void format(const struct json *platform, char *out, size_t *without_variant) {
    const char *os = json_get_string(platform, "os"), *arch = json_get_string(platform, "architecture");
    const char *variant = json_get_string(platform, "variant");
    out[0] = '\0';
    *without_variant = 0;
    if (os == NULL || arch == NULL)
        return;
    int len = snprintf(out, PLATFORM_TEXT_MAX, "%s/%s", os, arch);
    if (len < 0 || len >= PLATFORM_TEXT_MAX) {
        out[0] = '\0';
        return;
    }
    *without_variant = (size_t)len;
    if (variant != NULL && variant[0] != '\0')
        snprintf(out + len, PLATFORM_TEXT_MAX - (size_t)len, "/%s", variant);
}

bool platform_wanted(const struct task *t, const struct json *index, const char *digest) {
    char text[PLATFORM_TEXT_MAX];
    size_t plain;
    const struct json *wanted = json_get(t->request, "platforms");
    if (wanted == NULL || wanted->type != JSON_ARRAY || wanted->count == 0)
        return true;
    format(json_get(find_entry(index, digest), "platform"), text, &plain);
    if (plain == 0)
        return false;
    for (const struct json *one = wanted->child; one != NULL; one = one->next) {
        // "linux/arm64" means linux/arm64/v8 too, as clients understand it.
        if (strcmp(one->string, text) == 0 || (strlen(one->string) == plain && strncmp(one->string, text, plain) == 0))
            return true;
    }
    return false;
}
