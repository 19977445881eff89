// SPDX-License-Identifier: Apache-2.0
//
// Names of the distribution specification, brought to one form. Only this form is compared: a name
// that has two spellings would have two policies. Pure; any thread.

#include "mirrors/oci/name.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { DEFAULT_PORT = 443, QUOTED_MAX = 256, SHA256_HEX = 64 };

static const char DOCKER_HUB[] = "docker.io";
static const char DOCKER_HUB_NAMESPACE[] = "library/";

static bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_tag_char(char c) {
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

static int quoted(size_t len) {
    return len < QUOTED_MAX ? (int)len : QUOTED_MAX;
}

// --- registry ---

bool name_registry(const char *s, size_t len, char *out, struct err *err) {
    struct hostport hp;
    if (!hostport_parse(s, len, &hp, err))
        return false;
    if (hp.port == DEFAULT_PORT)
        hp.port = 0;
    bool hub = strcmp(hp.host, "index.docker.io") == 0 || strcmp(hp.host, "registry-1.docker.io") == 0;
    if (hub && hp.port == 0)
        snprintf(hp.host, sizeof hp.host, "%s", DOCKER_HUB);
    hostport_format(&hp, out);
    return true;
}

bool name_looks_like_registry(const char *s, size_t len) {
    if (len == 0)
        return false;
    if (memchr(s, '.', len) != NULL || memchr(s, ':', len) != NULL)
        return true;
    return len == strlen("localhost") && strncasecmp(s, "localhost", len) == 0;
}

// --- repository ---

// The bytes of the separator at the start: one of "." "_" "__" or any number of "-".
static size_t separator_len(const char *s, size_t len) {
    if (s[0] == '.')
        return 1;
    if (s[0] == '_')
        return len > 1 && s[1] == '_' ? 2 : 1;
    size_t dashes = 0;
    while (dashes < len && s[dashes] == '-')
        dashes++;
    return dashes;
}

static size_t word_len(const char *s, size_t len) {
    size_t n = 0;
    while (n < len && is_lower_or_digit(s[n]))
        n++;
    return n;
}

// Words joined by separators, components by slashes: a word must follow each of them.
bool name_repository_valid(const char *s, size_t len) {
    if (len == 0 || len > REPOSITORY_MAX)
        return false;
    size_t at = 0;
    for (;;) {
        size_t word = word_len(s + at, len - at);
        if (word == 0)
            return false;
        at += word;
        if (at == len)
            return true;
        size_t joint = s[at] == '/' ? 1 : separator_len(s + at, len - at);
        if (joint == 0)
            return false;
        at += joint;
    }
}

bool name_repository(const char *registry, const char *s, size_t len, char *out) {
    bool needs_library = strcmp(registry, DOCKER_HUB) == 0 && (len == 0 || memchr(s, '/', len) == NULL);
    size_t prefix = needs_library ? strlen(DOCKER_HUB_NAMESPACE) : 0;
    if (len > REPOSITORY_MAX - prefix)
        return false;
    memmove(out + prefix, s, len);
    memcpy(out, DOCKER_HUB_NAMESPACE, prefix);
    out[prefix + len] = '\0';
    return true;
}

// --- tag ---

bool name_tag_valid(const char *s, size_t len) {
    if (len == 0 || len > TAG_MAX || !is_tag_char(s[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_tag_char(s[i]) && s[i] != '.' && s[i] != '-')
            return false;
    return true;
}

static bool is_subject_suffix(const char *s) {
    return *s == '\0' || strcmp(s, ".sig") == 0 || strcmp(s, ".att") == 0 || strcmp(s, ".sbom") == 0;
}

// A sha512 digest does not fit into a tag.
bool name_tag_subject(const char *tag, char *out) {
    enum { PREFIX = 7, SUBJECT = PREFIX + SHA256_HEX };
    if (strncmp(tag, "sha256-", PREFIX) != 0 || strlen(tag) < SUBJECT || !is_subject_suffix(tag + SUBJECT))
        return false;
    char digest[SUBJECT + 1];
    memcpy(digest, tag, SUBJECT);
    digest[PREFIX - 1] = ':';
    digest[SUBJECT] = '\0';
    if (digest_check(digest, SUBJECT, NULL) != DIGEST_OK)
        return false;
    memcpy(out, digest, sizeof digest);
    return true;
}

// --- a whole image ---

static bool take_digest(const char *text, size_t *len, struct image_name *out, struct err *err) {
    const char *at = memchr(text, '@', *len);
    if (at == NULL)
        return true;
    size_t digest = *len - (size_t)(at + 1 - text);
    switch (digest_check(at + 1, digest, NULL)) {
    case DIGEST_OK:
        break;
    case DIGEST_UNSUPPORTED:
        return err_set(err, "\"%.*s\": only sha256 and sha512 digests are supported", quoted(*len), text);
    case DIGEST_MALFORMED:
        return err_set(err, "\"%.*s\": what follows \"@\" is no digest (sha256: and 64 lower-case hex digits)",
                       quoted(*len), text);
    }
    memcpy(out->digest, at + 1, digest);
    out->digest[digest] = '\0';
    *len = (size_t)(at - text);
    return true;
}

static bool take_tag(const char *text, size_t *len, struct image_name *out, struct err *err) {
    const char *colon = memrchr(text, ':', *len);
    const char *slash = memrchr(text, '/', *len);
    if (colon == NULL || (slash != NULL && slash > colon))
        return true;
    size_t tag = *len - (size_t)(colon + 1 - text);
    if (!name_tag_valid(colon + 1, tag))
        return err_set(err, "\"%.*s\": what follows \":\" is no tag (letters, digits, '_', '.', '-', at most %d)",
                       quoted(*len), text, TAG_MAX);
    memcpy(out->tag, colon + 1, tag);
    out->tag[tag] = '\0';
    *len = (size_t)(colon - text);
    return true;
}

// Sets `registry` and gives the repository's start.
static const char *take_registry(const char *text, size_t len, const char *default_registry, struct image_name *out,
                                 struct err *err) {
    const char *slash = memchr(text, '/', len);
    size_t first = slash == NULL ? 0 : (size_t)(slash - text);
    if (slash == NULL || !name_looks_like_registry(text, first))
        return name_registry(default_registry, strlen(default_registry), out->registry, err) ? text : NULL;
    return name_registry(text, first, out->registry, err) ? slash + 1 : NULL;
}

static bool take_repository(const char *text, const char *s, size_t len, struct image_name *out, struct err *err) {
    if (!name_repository_valid(s, len))
        return err_set(err,
                       "\"%.*s\": \"%.*s\" is no repository (lower-case letters and digits, joined by '.', '_', "
                       "'__' or '-', components by '/')",
                       quoted(strlen(text)), text, quoted(len), s);
    if (!name_repository(out->registry, s, len, out->repository))
        return err_set(err, "\"%.*s\": the repository has more than %d characters", quoted(strlen(text)), text,
                       REPOSITORY_MAX);
    return true;
}

static bool parse(const char *text, const char *default_registry, struct image_name *out, struct err *err) {
    size_t len = strlen(text);
    if (len == 0)
        return err_set(err, "an image is expected, found an empty string");
    if (strstr(text, "://") != NULL)
        return err_set(err, "an image is expected (registry/repository:tag), not a URL");
    if (!take_digest(text, &len, out, err) || !take_tag(text, &len, out, err))
        return false;
    const char *repository = take_registry(text, len, default_registry, out, err);
    if (repository == NULL)
        return false;
    return take_repository(text, repository, len - (size_t)(repository - text), out, err);
}

bool name_parse(const char *text, const char *default_registry, struct image_name *out, struct err *err) {
    struct image_name parsed = {0};
    if (!parse(text, default_registry, &parsed, err))
        return false;
    *out = parsed;
    return true;
}

void name_format(const struct image_name *name, char *out) {
    snprintf(out, IMAGE_TEXT_MAX + 1, "%s/%s%s%s%s%s", name->registry, name->repository,
             name->tag[0] != '\0' ? ":" : "", name->tag, name->digest[0] != '\0' ? "@" : "", name->digest);
}
