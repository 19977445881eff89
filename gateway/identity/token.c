// SPDX-License-Identifier: Apache-2.0
//
// Signing and verifying tokens of our own.

#include "gateway/identity/token.h"

#include "certs/state.h"
#include "gateway/identity/credential.h"
#include "gateway/identity/identity.h"
#include "gateway/identity/scope.h"
#include "gateway/identity/token_files.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

char *token_name(const char *name, struct err *err) {
    const char *bare = strncmp(name, "user:", 5) == 0 ? name + 5 : name;
    if (strncmp(name, "cert:", 5) == 0 || strncmp(name, "group:", 6) == 0)
        err_set(err, "\"%s\": a token is for a user; who has a certificate is named by it", name);
    else if (!name_fits(bare, strlen(bare)))
        err_set(err, "\"%s\" is no name: 1 to %d bytes without control characters are expected", name,
                CREDENTIAL_USER_MAX);
    else
        return mem_printf("user:%s", bare);
    return NULL;
}

void token_claims_deinit(struct token_claims *c) {
    free(c->name);
    free(c->scope);
    free(c->id);
    free(c->from);
    jwt_texts_free(c->groups, c->group_count);
    *c = (struct token_claims){0};
}

// --- verifying ---

static const struct token_key *key_of(const struct token_keys *keys, const struct jwt *t) {
    for (size_t i = 0; i < keys->count; i++)
        if (t->has_kid && strcmp(keys->keys[i].jwk.kid, t->kid) == 0)
            return &keys->keys[i];
    return NULL;
}

/// An optional claim that is a text; false: another type.
static bool text_claim(const struct jwt *t, const char *name, char **out) {
    const struct json *member = json_get(t->claims, name);
    if (member != NULL && (member->type != JSON_STRING || member->string_len > SCOPE_TEXT_MAX))
        return false;
    *out = member == NULL ? NULL : mem_strdup(member->string);
    return true;
}

static bool subject_fits(const char *sub) {
    if (sub == NULL || sub[0] == '\0')
        return sub != NULL;
    return (strncmp(sub, "user:", 5) == 0 || strncmp(sub, "cert:", 5) == 0) && sub[5] != '\0';
}

static bool read_claims(const struct jwt *t, struct token_claims *out, struct err *err) {
    const char *issuer = json_get_string(t->claims, "iss");
    if (issuer == NULL || strcmp(issuer, TOKEN_ISSUER) != 0 || !jwt_audience(t, TOKEN_ISSUER))
        return err_set(err, "a token for another audience");
    if (!text_claim(t, "sub", &out->name) || !text_claim(t, "scope", &out->scope) || !text_claim(t, "jti", &out->id) ||
        !text_claim(t, "from", &out->from) || !subject_fits(out->name) || out->id == NULL ||
        !jwt_time(t, "iat", &out->issued))
        return err_set(err, "a token with a claim missing or of a wrong type");
    return jwt_texts(t, "groups", &out->groups, &out->group_count, err);
}

bool token_verify(const struct token_keys *keys, const struct token_revoked *revoked, const struct jwt *t, int64_t now,
                  struct token_claims *out, struct err *err) {
    const struct token_key *key = key_of(keys, t);
    *out = (struct token_claims){0};
    if (key == NULL)
        return err_set(err, "a token of this gateway's, with a key that is not known (any more)");
    bool ok = jwt_verify(t, &key->jwk, err) && jwt_times(t, now, JWT_LEEWAY_S, &out->ends, err) &&
              (out->ends > now || err_set(err, "an expired token: it ended %" PRId64 " s ago", now - out->ends)) &&
              read_claims(t, out, err);
    if (ok && (token_is_revoked(revoked, out->id, out->name, out->issued) ||
               (out->from != NULL && token_is_revoked(revoked, out->from, out->name, out->issued))))
        ok = err_set(err, "a revoked token of %s", out->name);
    if (!ok)
        token_claims_deinit(out);
    return ok;
}

// --- signing ---

static void add_text(struct buf *b, const char *name, const char *value) {
    if (value == NULL)
        return;
    buf_addf(b, ",\"%s\":", name);
    buf_add_json(b, value, strlen(value));
}

static void write_claims(struct buf *b, const struct token_claims *c, const char *id) {
    buf_addf(b, "{\"iss\":\"%s\",\"aud\":\"%s\"", TOKEN_ISSUER, TOKEN_ISSUER);
    add_text(b, "sub", c->name);
    buf_addf(b, ",\"iat\":%" PRId64 ",\"nbf\":%" PRId64 ",\"exp\":%" PRId64 ",\"groups\":[", c->issued, c->issued,
             c->ends);
    for (size_t i = 0; i < c->group_count; i++) {
        buf_adds(b, i > 0 ? "," : "");
        buf_add_json(b, c->groups[i], strlen(c->groups[i]));
    }
    buf_adds(b, "]");
    add_text(b, "scope", c->scope);
    add_text(b, "from", c->from);
    add_text(b, "jti", id);
    buf_adds(b, "}");
}

static char *sign(const struct token_key *key, const struct token_claims *c, struct err *err) {
    char id[TOKEN_ID_LEN + 1], *token = NULL;
    struct buf claims;
    buf_init(&claims, JWT_MAX * 3 / 4);
    if (token_random_hex(id, TOKEN_ID_LEN / 2)) {
        write_claims(&claims, c, id);
        token = claims.overflow ? NULL : jwt_sign(&key->jwk, key->d, claims.data, claims.len);
    }
    // It is to fit Authorization as Basic, encoded once more, too.
    if (token != NULL && strlen(token) > IDENTITY_CREDENTIAL_MAX * 3 / 4 - CREDENTIAL_USER_MAX - 16) {
        mem_wipe(token);
        token = NULL;
    }
    if (token == NULL)
        err_set(err, "a token cannot be made: its groups are too many, or the key is not whole");
    buf_deinit(&claims);
    return token;
}

char *token_sign(const struct token_keys *keys, const struct token_claims *c, int64_t now, struct err *err) {
    return sign(token_keys_signing(keys, now), c, err);
}

// --- for commands ---

static bool copy_groups(struct token_claims *c, const char *const *groups, size_t count, struct err *err) {
    if (count > IDENTITY_GROUPS_MAX)
        return err_set(err, "over %d groups", IDENTITY_GROUPS_MAX);
    c->groups = mem_zalloc(count + 1, sizeof *c->groups);
    for (size_t i = 0; i < count; i++) {
        if (!name_fits(groups[i], strlen(groups[i])))
            return err_set(err, "\"%s\" is no name of a group", groups[i]);
        c->groups[c->group_count++] = mem_strdup(groups[i]);
    }
    return true;
}

static char *issue_locked(const char *directory, const struct token_claims *c, int64_t now, struct err *err) {
    struct token_keys *keys = token_keys_load(directory, now, err);
    if (keys == NULL)
        return NULL;
    const struct token_key *key = token_keys_signing(keys, now);
    // First the promise that the key is kept, then the token.
    char *token = token_keys_keep(directory, key->jwk.kid, c->ends, err) ? sign(key, c, err) : NULL;
    token_keys_unref(keys);
    return token;
}

char *identity_issue(const char *directory, const char *name, const char *const *groups, size_t group_count,
                     int64_t lifetime_s, struct err *err) {
    int64_t now = time(NULL);
    struct token_claims c = {.issued = now};
    char *token = NULL;
    if (lifetime_s < 1 || lifetime_s > TOKEN_ISSUED_MAX_S) {
        err_set(err, "a token lasts at least a second and at most %d days", TOKEN_ISSUED_MAX_S / 86400);
        return NULL;
    }
    c.ends = now + lifetime_s;
    if ((c.name = token_name(name, err)) != NULL && copy_groups(&c, groups, group_count, err) &&
        state_directory(directory, true, err) == STATE_OK) {
        int lock = token_lock(directory, true, err);
        if (lock >= 0) {
            token = issue_locked(directory, &c, now, err);
            token_unlock(lock);
        }
    }
    token_claims_deinit(&c);
    return token;
}

bool identity_revoke(const char *directory, const char *id_or_name, struct err *err) {
    return state_directory(directory, true, err) == STATE_OK && token_revoke(directory, id_or_name, time(NULL), err);
}

bool identity_rotate(const char *directory, struct err *err) {
    return state_directory(directory, true, err) == STATE_OK && token_keys_rotate(directory, time(NULL), 0, err);
}
