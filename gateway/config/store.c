// SPDX-License-Identifier: Apache-2.0
//
// "store": what is kept, where, and for how long it holds; and what a registry says for itself about that.
//
// A gateway keeps what it fetches unless the file says null, so there is a default for everything, the directory
// included: where no fitting one is known the site has to name it, as silently keeping nothing is not what was asked.

#include "gateway/config/loading.h"

#include "mirrors/base/mem.h"

#include <ctype.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DAY_S = 24 * 3600, ALL_PERCENT = 100 };

static const char duration_words[] = "a duration such as \"60s\", \"24h\" or \"30d\"";

// --- percents ---

/// "0%" to "100%".
static bool parse_percent(const char *text, unsigned *out) {
    unsigned n = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 3 || strcmp(text + digits, "%") != 0)
        return false;
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (unsigned)(text[i] - '0');
    *out = n;
    return n <= ALL_PERCENT;
}

static bool read_min_free(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct store_config *s = into;
    if (parse_percent(value->string, &s->min_free) && s->min_free < ALL_PERCENT)
        return true;
    return read_fail(r, "expected %s, found \"%.40s\"", key->expected, value->string);
}

static bool read_finish(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct store_config *s = into;
    if (strcmp(value->string, "never") == 0) {
        s->terms.finish_percent = ALL_PERCENT + 1;
        return true;
    }
    return parse_percent(value->string, &s->terms.finish_percent) ||
           read_fail(r, "expected %s, found \"%.40s\"", key->expected, value->string);
}

// --- times, sizes, paths ---

static bool read_stale_for(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct store_config *s = into;
    if (strcmp(value->string, "unlimited") != 0)
        return read_duration(r, key, value, into);
    s->terms.stale_for_s = -1;
    return true;
}

static bool read_directory(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct store_config *s = into;
    return read_path(r, value, &s->directory);
}

// --- what is never evicted ---

static bool read_keep_pattern(struct reader *r, const struct json *value, void *into) {
    struct store_config *s = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "a pattern such as \"docker.io/library/**\"", value);
    if (!pattern_parse(value->string, &s->keep[s->keep_count], r->err))
        return read_fail_again(r);
    if (s->keep[s->keep_count++].digest == NULL)
        return true;
    return read_fail(r, "expected a repository or a tag: what is kept is not chosen by digest");
}

static bool read_keep(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct store_config *s = into;
    if (value->count > STORE_KEEP_PATTERNS_MAX)
        return read_fail(r, "expected at most %d patterns, found %zu", STORE_KEEP_PATTERNS_MAX, value->count);
    s->keep = mem_zalloc(value->count + 1, sizeof *s->keep);
    return read_each(r, value, read_keep_pattern, s);
}

// --- the object ---

static const char finish_words[] = "a percentage such as \"50%\", or \"never\"";

#define FIELD(name) .offset = offsetof(struct store_config, name), .width = sizeof(((struct store_config *)0)->name)

const struct read_key store_keys[] = {
    {.name = "directory", .takes = TAKES_STRING, .expected = "a path", .read = read_directory},
    {.name = "max_size",
     .takes = TAKES_STRING,
     .expected = "a size such as \"50GiB\" or \"1TiB\"",
     .read = read_size,
     FIELD(max_size),
     .least = (uint64_t)STORE_SIZE_MIN_MIB << 20,
     .most = (uint64_t)STORE_SIZE_MAX_TIB << 40},
    {.name = "min_free",
     .takes = TAKES_STRING,
     .expected = "a percentage from \"0%\" to \"99%\"",
     .read = read_min_free},
    {.name = "tag_ttl",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(terms.tag_ttl_s),
     .least = 0,
     .most = STORE_TAG_TTL_MAX_S},
    {.name = "stale_for",
     .takes = TAKES_STRING,
     .expected = "a duration such as \"24h\" or \"7d\", or \"unlimited\"",
     .read = read_stale_for,
     FIELD(terms.stale_for_s),
     .least = 0,
     .most = STORE_TERM_MAX_S},
    {.name = "negative_ttl",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(terms.negative_ttl_s),
     .least = 0,
     .most = STORE_NEGATIVE_TTL_MAX_S},
    {.name = "learned_for",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(terms.learned_for_s),
     .least = 1,
     .most = STORE_TERM_MAX_S},
    {.name = "finish", .takes = TAKES_STRING, .expected = finish_words, .read = read_finish},
    {.name = "keep", .takes = TAKES_LIST, .expected = "a list of patterns", .read = read_keep},
    {.name = NULL},
};

#undef FIELD

bool read_store(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    c->store.enabled = value->type != JSON_NULL;
    return !c->store.enabled || read_object(r, value, store_keys, &c->store);
}

// --- defaults ---

void store_default(struct store_config *s) {
    *s = (struct store_config){
        .enabled = true,
        .max_size = (uint64_t)STORE_SIZE_GIB << 30,
        .min_free = STORE_MIN_FREE,
        .terms = {.tag_ttl_s = STORE_TAG_TTL_S,
                  .stale_for_s = STORE_STALE_FOR_S,
                  .negative_ttl_s = STORE_NEGATIVE_TTL_S,
                  .learned_for_s = STORE_LEARNED_FOR_S,
                  .finish_percent = STORE_FINISH_PERCENT},
    };
}

static const char *absolute_from_environment(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] == '/' && strlen(value) < PATH_MAX ? value : NULL;
}

/// systemd's CacheDirectory= (the first of a list), else the system's or the user's place for caches; NULL: none known.
static char *default_directory(void) {
    const char *of_unit = absolute_from_environment("CACHE_DIRECTORY");
    if (of_unit != NULL)
        return mem_strndup(of_unit, strcspn(of_unit, ":"));
    if (geteuid() == 0)
        return mem_strdup("/var/cache/pullgate");
    const char *cache = absolute_from_environment("XDG_CACHE_HOME"), *home = absolute_from_environment("HOME");
    if (cache != NULL)
        return mem_printf("%s/pullgate", cache);
    return home != NULL ? mem_printf("%s/.cache/pullgate", home) : NULL;
}

static bool check_offline(struct reader *r, const struct config *c) {
    for (size_t i = 0; i < c->registry_count; i++)
        if (c->registries[i]->offline)
            return read_fail(r,
                             "registries.\"%.80s\".offline: an offline registry is served from the store only, and "
                             "\"store\" is null",
                             c->registry_origins[i].key);
    return true;
}

bool store_complete(struct reader *r, struct config *c) {
    struct store_config *s = &c->store;
    if (!s->enabled)
        return check_offline(r, c);
    if (s->directory == NULL)
        s->directory = default_directory();
    return s->directory != NULL ||
           read_fail(r, "store.directory: there is no default here, as neither XDG_CACHE_HOME nor HOME is an absolute "
                        "path: write the directory, or \"store\": null to keep nothing");
}

void store_config_deinit(struct store_config *s) {
    for (size_t i = 0; i < s->keep_count; i++)
        pattern_deinit(&s->keep[i]);
    free(s->keep);
    free(s->directory);
}

// --- what it means ---

void config_terms(const struct config *c, const struct registry *registry, struct content_terms *out) {
    *out = c->store.terms;
    if (registry->tag_ttl_s != UINT_MAX)
        out->tag_ttl_s = registry->tag_ttl_s;
    out->offline = registry->offline;
}

static bool keeps(const struct pattern *p, const char *registry, const char *repository, const char *tag) {
    if (!pattern_match_registry(p, registry) || !pattern_match_repository(p->repository, repository))
        return false;
    return p->tag == NULL || (tag != NULL && tag[0] != '\0' && pattern_match_tag(p->tag, tag));
}

bool config_store_keeps(const struct config *c, const char *registry, const char *repository, const char *tag) {
    for (size_t i = 0; i < c->store.keep_count; i++)
        if (keeps(&c->store.keep[i], registry, repository, tag))
            return true;
    return false;
}
