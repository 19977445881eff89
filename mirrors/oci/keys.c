// SPDX-License-Identifier: Apache-2.0
//
// See keys.h. The known names are those that any client's manifest types have; all of them are ASCII, so that no other
// Unicode folding can lead to one.

#include "mirrors/oci/keys.h"

#include <string.h>

static const char *const document_keys[] = {
    "schemaVersion", "mediaType",   "artifactType", "config",     "layers", "manifests", "blobs",        "subject",
    "fsLayers",      "annotations", "history",      "signatures", "name",   "tag",       "architecture", NULL,
};
static const char *const descriptor_keys[] = {
    "mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType", NULL,
};

/// One character, folded; moves on. Everything but ASCII and the two that fold into it stands for itself.
static unsigned char fold_next(const char **s, const char *end) {
    const unsigned char *p = (const unsigned char *)*s;
    size_t left = (size_t)(end - *s);
    if (left >= 2 && p[0] == 0xc5 && p[1] == 0xbf) { // U+017F, long s
        *s += 2;
        return 's';
    }
    if (left >= 3 && p[0] == 0xe2 && p[1] == 0x84 && p[2] == 0xaa) { // U+212A, Kelvin
        *s += 3;
        return 'k';
    }
    *s += 1;
    return p[0] >= 'A' && p[0] <= 'Z' ? (unsigned char)(p[0] | 0x20) : p[0];
}

bool keys_equal_folded(const char *a, size_t a_len, const char *b, size_t b_len) {
    const char *a_end = a + a_len, *b_end = b + b_len;
    while (a < a_end && b < b_end)
        if (fold_next(&a, a_end) != fold_next(&b, b_end))
            return false;
    return a == a_end && b == b_end;
}

static const char *known_by_folding(const struct json *member, const char *const *known) {
    for (; *known; known++) {
        size_t len = strlen(*known);
        bool exact = len == member->key_len && memcmp(*known, member->key, len) == 0;
        if (!exact && keys_equal_folded(*known, len, member->key, member->key_len))
            return *known;
    }
    return NULL;
}

static const char *twin_before(const struct json *object, const struct json *member) {
    for (const struct json *other = object->child; other != member; other = other->next)
        if (keys_equal_folded(other->key, other->key_len, member->key, member->key_len))
            return other->key;
    return NULL;
}

enum keys_verdict keys_judge(const struct json *object, enum keys_of what, struct keys_finding *out) {
    const char *const *known = what == KEYS_OF_DOCUMENT ? document_keys : descriptor_keys;
    if (object->count > KEYS_MAX)
        return KEYS_TOO_MANY;
    for (const struct json *member = object->child; member; member = member->next) {
        const char *reads_as = known_by_folding(member, known);
        if (!reads_as)
            reads_as = twin_before(object, member);
        if (!reads_as)
            continue;
        *out = (struct keys_finding){.key = member, .reads_as = reads_as};
        return KEYS_FOLDED;
    }
    return KEYS_OK;
}
