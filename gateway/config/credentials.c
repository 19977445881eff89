// SPDX-License-Identifier: Apache-2.0
//
// "credentials": named once at the top, so that the rest of the file never holds a secret; and who uses which.
//
// Passwords are read when the configuration is loaded: a file that is missing, empty or readable by others is an error.

#include "gateway/config/registries.h"

#include "mirrors/base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// --- the credentials ---

struct credential_texts {
    char *username;
    char *password_file;
};

static bool read_username(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct credential_texts *t = into;
    if (!read_line(r, value, USERNAME_MAX, &t->username))
        return false;
    return strchr(t->username, ':') == NULL || read_fail(r, "expected no colon: Basic authentication cannot carry one");
}

static bool read_password_file(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct credential_texts *t = into;
    return read_path(r, value, &t->password_file);
}

const struct read_key credential_keys[] = {
    {.name = "username", .takes = TAKES_STRING, .expected = "a user name", .read = read_username, .required = true},
    {.name = "password_file",
     .takes = TAKES_STRING,
     .expected = "the path of a file that holds the password",
     .read = read_password_file,
     .required = true},
    {.name = NULL},
};

/// credential_load() names the credential itself, so only the file is put before its sentence.
static bool load_password(struct reader *r, struct credential *c) {
    if (r->dir == NULL || credential_load(c, true, r->err))
        return true;
    return r->file == NULL ? false : err_prefix(r->err, "%s: ", r->file);
}

static bool name_valid(const char *s) {
    size_t len = strlen(s);
    if (len == 0 || len > READER_NAME_MAX)
        return false;
    for (; *s != '\0'; s++)
        if (!isalnum((unsigned char)*s) && strchr("._-", *s) == NULL)
            return false;
    return true;
}

static bool read_credential(struct reader *r, const struct json *value, void *into) {
    struct config *c = into;
    struct credential_texts texts = {0};
    bool ok = name_valid(value->key) || read_fail(r, "expected a name of letters, digits and ._-");
    ok = ok && read_object(r, value, credential_keys, &texts);
    if (ok) {
        c->credentials[c->credential_count] = credential_new(value->key, texts.username, texts.password_file);
        ok = load_password(r, c->credentials[c->credential_count++]);
    }
    free(texts.username);
    free(texts.password_file);
    return ok;
}

bool read_credentials(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    if (value->count > CREDENTIALS_MAX)
        return read_fail(r, "expected at most %d credentials, found %zu", CREDENTIALS_MAX, value->count);
    c->credentials = mem_zalloc(value->count + 1, sizeof(struct credential *));
    return read_each(r, value, read_credential, c);
}

// --- who uses which ---

static bool fail_no_credential(struct reader *r, const struct config *c, const char *name) {
    const char **words = mem_zalloc(c->credential_count + 1, sizeof *words);
    for (size_t i = 0; i < c->credential_count; i++)
        words[i] = c->credentials[i]->name;
    const char *near = nearest_word(name, words, c->credential_count);
    free(words);
    if (near != NULL)
        return read_fail(r, "there is no credential \"%.80s\"; did you mean \"%s\"?", name, near);
    return read_fail(r, "there is no credential \"%.80s\" under \"credentials\"", name);
}

struct credential *read_credential_name(struct reader *r, const struct json *value) {
    const struct config *c = r->loading->config;
    if (value->type != JSON_STRING) {
        read_expected(r, "the name of a credential", value);
        return NULL;
    }
    for (size_t i = 0; i < c->credential_count; i++)
        if (strcmp(c->credentials[i]->name, value->string) == 0)
            return c->credentials[i];
    fail_no_credential(r, c, value->string);
    return NULL;
}

struct use_reading {
    struct registry *registry;
    struct credential_use *use;
};

/// A repository pattern as in rules, without the registry, in its canonical form.
static bool read_use_pattern(struct reader *r, const struct json *value, void *into) {
    struct use_reading *u = into;
    struct pattern pattern;
    if (value->type != JSON_STRING)
        return read_expected(r, "a repository pattern such as \"org/**\"", value);
    char *text = mem_printf("%s/%s", u->registry->name, value->string);
    bool ok = pattern_parse(text, &pattern, r->err);
    free(text);
    if (!ok)
        return read_fail_again(r);
    if (pattern.tag != NULL || pattern.digest != NULL)
        ok = read_fail(r, "expected a repository without a tag or digest, found \"%.80s\"", value->string);
    else
        u->use->repositories[u->use->count++] = mem_strdup(pattern.repository);
    pattern_deinit(&pattern);
    return ok;
}

static bool read_for(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct use_reading *u = into;
    if (value->count == 0 || value->count > CREDENTIAL_USES_MAX)
        return read_fail(r, "expected 1 to %d repository patterns", CREDENTIAL_USES_MAX);
    u->use->repositories = mem_zalloc(value->count, sizeof(char *));
    return read_each(r, value, read_use_pattern, u);
}

static bool read_use(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct use_reading *u = into;
    u->use->credential = read_credential_name(r, value);
    return u->use->credential != NULL;
}

const struct read_key credential_use_keys[] = {
    {.name = "for",
     .takes = TAKES_LIST,
     .expected = "a list of repository patterns such as [\"org/**\"]",
     .read = read_for,
     .required = true},
    {.name = "use", .takes = TAKES_STRING, .expected = "the name of a credential", .read = read_use, .required = true},
    {.name = NULL},
};

static bool read_one_use(struct reader *r, const struct json *value, void *into) {
    struct registry *registry = into;
    struct use_reading u = {.registry = registry, .use = &registry->credentials[registry->credential_count++]};
    return read_object(r, value, credential_use_keys, &u);
}

static bool use_for_all(struct reader *r, const struct json *value, struct registry *registry) {
    struct credential *credential = read_credential_name(r, value);
    if (credential == NULL)
        return false;
    registry->credentials = mem_zalloc(1, sizeof *registry->credentials);
    registry->credential_count = 1;
    struct credential_use *use = &registry->credentials[0];
    use->credential = credential;
    use->repositories = mem_zalloc(1, sizeof(char *));
    use->repositories[use->count++] = mem_strdup("**");
    return true;
}

bool read_registry_credentials(struct reader *r, const struct json *value, struct registry *registry) {
    if (value->type == JSON_STRING)
        return use_for_all(r, value, registry);
    if (value->count > CREDENTIAL_USES_MAX)
        return read_fail(r, "expected at most %d entries, found %zu", CREDENTIAL_USES_MAX, value->count);
    registry->credentials = mem_zalloc(value->count + 1, sizeof *registry->credentials);
    return read_each(r, value, read_one_use, registry);
}
