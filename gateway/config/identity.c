// SPDX-License-Identifier: Apache-2.0
//
// "identity" and "groups": how those who ask are known, and whom rules may speak of together.
//
// The texts of `struct identity_settings` are the configuration's own, although others may only read them.

#include "gateway/config/loading.h"

#include "mirrors/base/mem.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { CLAIM_MAX = 255, AUDIENCE_MAX = 500, URL_MAX = 2000 };

static const char duration_words[] = "a duration such as \"5m\" or \"1h\"";

/// One that is read into a field that others may only read.
static bool read_own_line(struct reader *r, const struct json *value, size_t max, const char **field) {
    char *text = NULL;
    bool ok = read_line(r, value, max, &text);
    free((char *)*field);
    *field = text;
    return ok;
}

static bool read_own_path(struct reader *r, const struct json *value, enum file_kind kind, const char **field) {
    char *path = NULL;
    bool ok = read_path(r, value, &path);
    free((char *)*field);
    *field = path;
    return ok && read_check_file(r, path, kind);
}

// --- an issuer ---

static bool is_https(const char *text) {
    struct hostport at;
    static const char scheme[] = "https://";
    size_t skip = sizeof scheme - 1;
    return strncmp(text, scheme, skip) == 0 && hostport_parse(text + skip, strcspn(text + skip, "/"), &at, NULL) &&
           strpbrk(text, " \"'<>\\#") == NULL;
}

static bool read_issuer(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct oidc_settings *o = into;
    return read_own_line(r, value, URL_MAX, &o->issuer);
}

static bool read_audience(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct oidc_settings *o = into;
    return read_own_line(r, value, AUDIENCE_MAX, &o->audience);
}

static bool read_jwks(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct oidc_settings *o = into;
    if (strstr(value->string, "://") == NULL)
        return read_own_path(r, value, FILE_PUBLIC, &o->jwks);
    return is_https(value->string)
               ? read_own_line(r, value, URL_MAX, &o->jwks)
               : read_fail(r, "expected a file or a URL that begins with https://, found \"%.80s\"", value->string);
}

static bool read_issuer_ca(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct oidc_settings *o = into;
    return read_own_path(r, value, FILE_CERTIFICATES, &o->ca);
}

static bool read_name_claim(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct oidc_settings *o = into;
    return read_own_line(r, value, CLAIM_MAX, &o->name_claim);
}

static bool read_groups_claim(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct oidc_settings *o = into;
    return read_own_line(r, value, CLAIM_MAX, &o->groups_claim);
}

static const struct read_key oidc_keys[] = {
    {.name = "issuer",
     .takes = TAKES_STRING,
     .expected = "the issuer's name, a URL",
     .read = read_issuer,
     .required = true},
    {.name = "audience",
     .takes = TAKES_STRING,
     .expected = "the audience that its tokens name",
     .read = read_audience,
     .required = true},
    {.name = "jwks",
     .takes = TAKES_STRING,
     .expected = "a file with the issuer's keys, or their https URL",
     .read = read_jwks,
     .required = true},
    {.name = "ca", .takes = TAKES_STRING, .expected = "the path of a PEM file", .read = read_issuer_ca},
    {.name = "name_claim", .takes = TAKES_STRING, .expected = "the name of a claim", .read = read_name_claim},
    {.name = "groups_claim", .takes = TAKES_STRING, .expected = "the name of a claim", .read = read_groups_claim},
    {.name = NULL},
};

static bool check_issuer(struct reader *r, const struct identity_settings *i, const struct oidc_settings *o) {
    for (const struct oidc_settings *other = i->oidc; other < o; other++)
        if (strcmp(other->issuer, o->issuer) == 0 && strcmp(other->audience, o->audience) == 0)
            return read_fail(r, "oidc[%zu] has this issuer and audience already", (size_t)(other - i->oidc));
    if (o->ca != NULL && strstr(o->jwks, "://") == NULL)
        return read_fail(r, "ca: it is for a \"jwks\" that is fetched, and this one is a file");
    return true;
}

static bool read_one_issuer(struct reader *r, const struct json *value, void *into) {
    struct identity_settings *i = into;
    struct oidc_settings *o = (struct oidc_settings *)&i->oidc[i->oidc_count++];
    if (!read_object(r, value, oidc_keys, o) || !check_issuer(r, i, o))
        return false;
    if (o->name_claim == NULL)
        o->name_claim = mem_strdup("sub");
    if (o->groups_claim == NULL)
        o->groups_claim = mem_strdup("groups");
    o->proxy = mem_strdup(r->loading->proxies.https);
    o->no_proxy = mem_strdup(r->loading->proxies.no_proxy);
    return true;
}

static bool read_oidc(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct identity_settings *i = into;
    if (value->count > OIDC_MAX)
        return read_fail(r, "expected at most %d issuers, found %zu", OIDC_MAX, value->count);
    i->oidc = mem_zalloc(value->count + 1, sizeof *i->oidc);
    return read_each(r, value, read_one_issuer, i);
}

// --- identity ---

static bool read_htpasswd(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct identity_settings *i = into;
    return read_own_path(r, value, FILE_SECRET, &i->htpasswd);
}

#define FIELD(name)                                                                                                    \
    .offset = offsetof(struct identity_settings, name), .width = sizeof(((struct identity_settings *)0)->name)

const struct read_key identity_keys[] = {
    {.name = "htpasswd", .takes = TAKES_STRING, .expected = "the path of a file", .read = read_htpasswd},
    {.name = "token_lifetime",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(token_lifetime_s),
     .least = TOKEN_LIFETIME_MIN_S,
     .most = TOKEN_LIFETIME_MAX_S},
    {.name = "oidc",
     .takes = TAKES_LIST,
     .expected = "a list of { \"issuer\", \"audience\", \"jwks\" }",
     .read = read_oidc,
     .shape = READ_LIST,
     .children = oidc_keys},
    {.name = "login_failures",
     .takes = TAKES_NUMBER,
     .expected = "a number of failed logins",
     .read = read_count,
     FIELD(failures_max),
     .least = 1,
     .most = LOGIN_FAILURES_MAX},
    {.name = "login_window",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(failures_window_s),
     .least = 1,
     .most = LOGIN_WINDOW_MAX_S},
    {.name = NULL},
};

#undef FIELD

bool read_identity(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    c->identity_written = true;
    return read_object(r, value, identity_keys, &c->identity);
}

void identity_default(struct identity_settings *i) {
    *i = (struct identity_settings){
        .token_lifetime_s = TOKEN_LIFETIME_S, .failures_max = LOGIN_FAILURES, .failures_window_s = LOGIN_WINDOW_S};
}

static bool check_listener(struct reader *r, const struct config *c, size_t index) {
    const struct listener_config *l = &c->listeners[index];
    if (l->challenge && !c->identity_written)
        return read_fail(r,
                         "listeners[%zu].challenge: nobody could answer: there is no \"identity\" (\"identity\": {} "
                         "knows the gateway's own tokens)",
                         index);
    if (l->identify == IDENTIFY_REQUIRED && l->client_ca == NULL && !c->identity_written)
        return read_fail(r,
                         "listeners[%zu].identify: \"required\", and there is no way to be known here: write "
                         "\"client_ca\" for this listener, or \"identity\" at the top",
                         index);
    return true;
}

bool identity_complete(struct reader *r, struct config *c) {
    for (size_t i = 0; i < c->listener_count; i++)
        if (!check_listener(r, c, i))
            return false;
    return true;
}

void identity_settings_deinit(struct identity_settings *i) {
    for (size_t k = 0; k < i->oidc_count; k++) {
        free((char *)i->oidc[k].issuer);
        free((char *)i->oidc[k].audience);
        free((char *)i->oidc[k].jwks);
        free((char *)i->oidc[k].ca);
        free((char *)i->oidc[k].name_claim);
        free((char *)i->oidc[k].groups_claim);
        free((char *)i->oidc[k].proxy);
        free((char *)i->oidc[k].no_proxy);
    }
    free((struct oidc_settings *)i->oidc);
    free((char *)i->htpasswd);
}

// --- groups ---

static bool read_member(struct reader *r, const struct json *value, void *into) {
    struct group_spec *g = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "\"user:NAME\", \"cert:NAME\" or \"address:BLOCK\"", value);
    ((const char **)g->members)[g->member_count++] = value->string;
    return true;
}

static bool read_group(struct reader *r, const struct json *value, void *into) {
    struct loading *l = into;
    struct group_spec *g = &l->groups[l->group_count++];
    g->name = value->key;
    if (value->type != JSON_ARRAY)
        return read_expected(r, "a list of members", value);
    if (value->key[0] == '\0' || strlen(value->key) > WHO_MAX)
        return read_fail(r, "expected a name of 1 to %d bytes", WHO_MAX);
    if (value->count > MEMBERS_MAX)
        return read_fail(r, "expected at most %d members, found %zu", MEMBERS_MAX, value->count);
    g->members = mem_zalloc(value->count + 1, sizeof *g->members);
    return read_each(r, value, read_member, g);
}

bool read_groups(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct loading *l = r->loading;
    if (value->count > GROUPS_MAX)
        return read_fail(r, "expected at most %d groups, found %zu", GROUPS_MAX, value->count);
    l->groups = mem_zalloc(value->count + 1, sizeof *l->groups);
    return read_each(r, value, read_group, l);
}
