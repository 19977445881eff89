// SPDX-License-Identifier: Apache-2.0
//
// Patterns: REGISTRY/REPOSITORY[:TAG|@DIGEST], read strictly.
//
// What a person writes is brought into the canonical form here, once, so that matching compares canonical names only.
// A pattern that could be meant in two ways is an error that proposes what to write. Pure; any thread.

#include "gateway/policy/policy.h"

#include "mirrors/base/glob.h"
#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/digest.h"
#include "mirrors/oci/name.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char forbidden[] = "?[]{}!$\\";
static const char hub[] = "docker.io";

// A piece of the pattern's text.
struct span {
    const char *s;
    size_t len;
};

static struct span span_of(const char *s, size_t len) {
    return (struct span){s, len};
}

static bool span_is(struct span a, const char *s) {
    return a.len == strlen(s) && memcmp(a.s, s, a.len) == 0;
}

static bool span_has(struct span a, char c) {
    return a.len > 0 && memchr(a.s, c, a.len) != NULL;
}

// Where `c` first stands, or the length.
static size_t span_find(struct span a, char c) {
    const char *at = a.len == 0 ? NULL : memchr(a.s, c, a.len);
    return at == NULL ? a.len : (size_t)(at - a.s);
}

static bool is_tag_char(char c) {
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

static bool is_repository_char(char c) {
    return (isalnum((unsigned char)c) && !isupper((unsigned char)c)) || c == '.' || c == '_' || c == '-';
}

// --- what no pattern may hold ---

static bool check_text(const char *text, struct err *err) {
    size_t len = strnlen(text, PATTERN_TEXT_MAX + 1);
    if (len == 0)
        return err_set(err, "the pattern is empty; write REGISTRY/REPOSITORY, for example \"docker.io/library/**\"");
    if (len > PATTERN_TEXT_MAX)
        return err_set(err, "the pattern is longer than %d bytes", PATTERN_TEXT_MAX);
    if (text[0] == '@')
        return err_set(err, "\"%s\": a pattern that begins with \"@\" names a set, and sets are not supported yet",
                       text);
    for (const char *s = text; *s != '\0'; s++) {
        if (strchr(forbidden, *s) != NULL)
            return err_set(err, "\"%s\": \"%c\" is not permitted in a pattern; only \"*\" and \"**\" are special", text,
                           *s);
        if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f)
            return err_set(err, "\"%s\": a pattern holds only visible ASCII characters", text);
    }
    return true;
}

// --- the reference ---

static bool parse_digest(const char *text, struct span digest, struct pattern *out, struct err *err) {
    if (span_has(digest, '*'))
        return err_set(err, "\"%s\": a digest is written in full, without \"*\"", text);
    enum digest_algorithm algorithm;
    if (digest_check(digest.s, digest.len, &algorithm) != DIGEST_OK)
        return err_set(err,
                       "\"%s\": what follows \"@\" is not a sha256 or sha512 digest (\"sha256:\" and 64 digits 0-9a-f)",
                       text);
    out->digest = mem_strndup(digest.s, digest.len);
    return true;
}

static bool parse_tag(const char *text, struct span tag, struct pattern *out, struct err *err) {
    if (tag.len == 0)
        return err_set(err, "\"%s\": a tag is missing after \":\"", text);
    if (tag.len > TAG_MAX)
        return err_set(err, "\"%s\": a tag has at most %d characters", text, TAG_MAX);
    for (size_t i = 0; i < tag.len; i++) {
        if (tag.s[i] == '*' && i + 1 < tag.len && tag.s[i + 1] == '*')
            return err_set(err, "\"%s\": \"**\" means nothing in a tag; write \"*\"", text);
        if (tag.s[i] == '/')
            return err_set(err, "\"%s\": a \"/\" cannot follow the \":\" of a tag", text);
        if (tag.s[i] != '*' && !is_tag_char(tag.s[i]))
            return err_set(err, "\"%s\": \"%c\" cannot stand in a tag", text, tag.s[i]);
    }
    if (tag.s[0] == '.' || tag.s[0] == '-')
        return err_set(err, "\"%s\": a tag cannot begin with \"%c\"", text, tag.s[0]);
    out->tag = mem_strndup(tag.s, tag.len);
    return true;
}

// The tag or digest, out of what follows the registry; `rest` is shortened to the repository.
static bool parse_reference(const char *text, struct span *rest, struct pattern *out, struct err *err) {
    size_t at = span_find(*rest, '@');
    size_t colon = span_find(span_of(rest->s, at), ':');
    struct span whole = *rest;
    rest->len = colon;
    if (at < whole.len) {
        if (colon < at)
            return err_set(err, "\"%s\": a pattern has a tag or a digest, not both; write two patterns", text);
        return parse_digest(text, span_of(whole.s + at + 1, whole.len - at - 1), out, err);
    }
    if (colon < whole.len)
        return parse_tag(text, span_of(whole.s + colon + 1, whole.len - colon - 1), out, err);
    return true;
}

// --- the registry ---

static bool parse_wildcard_registry(const char *text, struct span s, struct pattern *out, struct err *err) {
    if (s.len > REGISTRY_MAX)
        return err_set(err, "\"%s\": the registry is too long", text);
    if (s.len > 4 && memcmp(s.s + s.len - 4, ":443", 4) == 0)
        s.len -= 4;
    char *lower = mem_strndup(s.s, s.len);
    for (char *c = lower; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    if (strcmp(lower, "*") != 0 && !host_pattern_valid(lower, err)) {
        free(lower);
        return err_prefix(err, "\"%s\": ", text);
    }
    out->registry = lower;
    return true;
}

static bool parse_registry(const char *text, struct span s, struct pattern *out, struct err *err) {
    if (s.len == 0)
        return err_set(err, "\"%s\": the registry before the first \"/\" is missing", text);
    for (size_t i = 0; i + 1 < s.len; i++)
        if (s.s[i] == '*' && s.s[i + 1] == '*')
            return err_set(
                err, "\"%s\": a registry is a name, \"*.DOMAIN\" or \"*\" for any; \"**\" alone is everything", text);
    if (span_has(s, '*'))
        return parse_wildcard_registry(text, s, out, err);
    char name[REGISTRY_MAX + 1];
    if (!name_registry(s.s, s.len, name, err))
        return err_prefix(err, "\"%s\": ", text);
    out->registry = mem_strdup(name);
    return true;
}

// --- the repository ---

static bool check_component(const char *text, struct span c, struct err *err) {
    if (c.len == 0)
        return err_set(err, "\"%s\": a path component is empty", text);
    if (span_is(c, "**"))
        return true;
    for (size_t i = 0; i < c.len; i++) {
        if (isupper((unsigned char)c.s[i]))
            return err_set(err, "\"%s\": a repository has no upper-case letters: write \"%c\" for \"%c\"", text,
                           tolower((unsigned char)c.s[i]), c.s[i]);
        if (c.s[i] == '*' && i + 1 < c.len && c.s[i + 1] == '*')
            return err_set(err, "\"%s\": \"**\" stands for whole path components: write \"/**\", or \"*\" within one",
                           text);
        if (c.s[i] != '*' && !is_repository_char(c.s[i]))
            return err_set(err, "\"%s\": \"%c\" cannot stand in a repository", text, c.s[i]);
    }
    return true;
}

static bool check_repository(const char *text, struct span s, struct err *err) {
    if (s.len == 0)
        return err_set(err, "\"%s\": the repository is missing; \"**\" stands for all of a registry's", text);
    if (s.len > REPOSITORY_MAX)
        return err_set(err, "\"%s\": a repository has at most %d characters", text, REPOSITORY_MAX);
    for (struct span left = s;;) {
        size_t slash = span_find(left, '/');
        if (!check_component(text, span_of(left.s, slash), err))
            return false;
        if (slash == left.len)
            break;
        left = span_of(left.s + slash + 1, left.len - slash - 1);
    }
    if (!span_has(s, '*') && !name_repository_valid(s.s, s.len))
        return err_set(err, "\"%s\": \"%.*s\" is not a repository name", text, (int)s.len, s.s);
    return true;
}

static bool parse_repository(const char *text, struct span s, struct pattern *out, struct err *err) {
    if (!check_repository(text, s, err))
        return false;
    bool official = strcmp(out->registry, hub) == 0 && !span_has(s, '/') && !span_is(s, "**");
    out->repository = mem_printf("%s%.*s", official ? "library/" : "", (int)s.len, s.s);
    return true;
}

// --- a pattern without a slash ---

static bool propose_full_name(const char *text, struct err *err) {
    size_t name = strcspn(text, ":@");
    if (strcmp(text, "*") == 0)
        return err_set(err, "\"*\": a pattern is REGISTRY/REPOSITORY; write \"**\" for everything");
    if (name_looks_like_registry(text, name))
        return err_set(err, "\"%s\": a pattern is REGISTRY/REPOSITORY; write \"%s/**\" for all of that registry", text,
                       text);
    return err_set(err, "\"%s\": a pattern is REGISTRY/REPOSITORY; write \"docker.io/library/%s\"", text, text);
}

// "**", "**:TAG" and "**@DIGEST" speak of every repository everywhere.
static bool is_everything(const char *text) {
    return strncmp(text, "**", 2) == 0 && (text[2] == '\0' || text[2] == ':' || text[2] == '@');
}

static bool parse_parts(const char *text, struct pattern *out, struct err *err) {
    if (!check_text(text, err))
        return false;
    struct span rest = span_of(text, strlen(text));
    struct span registry = span_of("*", 1);
    if (!is_everything(text)) {
        size_t slash = span_find(rest, '/');
        if (slash == rest.len)
            return propose_full_name(text, err);
        registry = span_of(text, slash);
        rest = span_of(text + slash + 1, rest.len - slash - 1);
    }
    return parse_reference(text, &rest, out, err) && parse_registry(text, registry, out, err) &&
           parse_repository(text, rest, out, err);
}

bool pattern_parse(const char *text, struct pattern *out, struct err *err) {
    *out = (struct pattern){0};
    if (parse_parts(text, out, err))
        return true;
    pattern_deinit(out);
    return false;
}

void pattern_deinit(struct pattern *p) {
    free(p->registry);
    free(p->repository);
    free(p->tag);
    free(p->digest);
    *p = (struct pattern){0};
}

// --- matching ---

// Registry names are at the same time host:port: the default port of a registry is https'.
static bool wildcard_registry_match(const char *pattern, const char *registry) {
    if (strcmp(pattern, "*") == 0)
        return true;
    struct hostport at;
    return hostport_parse(registry, strlen(registry), &at, NULL) && host_pattern_match(pattern, &at, 443);
}

bool pattern_match_registry(const struct pattern *p, const char *registry) {
    if (strchr(p->registry, '*') == NULL)
        return strcmp(p->registry, registry) == 0;
    return wildcard_registry_match(p->registry, registry);
}

bool pattern_match_repository(const char *pattern, const char *repository) {
    return glob_components(pattern, repository);
}

bool pattern_match_tag(const char *pattern, const char *tag) {
    return glob_text(pattern, strlen(pattern), tag, strlen(tag));
}
