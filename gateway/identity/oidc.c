// SPDX-License-Identifier: Apache-2.0
//
// Judging an issuer's token.

#include "gateway/identity/oidc.h"

#include "gateway/identity/credential.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <string.h>

static bool check_signature(const struct jwks *keys, const struct jwt *t, struct err *err) {
    const char *kid = t->has_kid ? t->kid : NULL;
    const struct jwk *key = jwks_find(keys, kid, t->alg);
    if (key != NULL)
        return jwt_verify(t, key, err);
    if (kid == NULL)
        return err_set(err, "a token without a key id, and not exactly one key that %s goes with", t->alg);
    return jwks_has(keys, kid) ? err_set(err, "a token with the algorithm %s, for which the key is not", t->alg)
                               : err_set(err, "a token with an unknown key id");
}

static bool read_name(const struct oidc_settings *settings, const struct jwt *t, struct token_claims *out,
                      struct err *err) {
    const struct json *name = json_get(t->claims, settings->name_claim);
    if (name == NULL || name->type != JSON_STRING || !name_fits(name->string, name->string_len))
        return err_set(err, "a token whose \"%s\" is no name", settings->name_claim);
    const struct json *verified = json_get(t->claims, "email_verified");
    if (strcmp(settings->name_claim, "email") == 0 && verified != NULL &&
        !(verified->type == JSON_BOOL && verified->boolean))
        return err_set(err, "a token with an e-mail address that is not verified");
    out->name = mem_printf("user:%s", name->string);
    return true;
}

static bool read_claims(const struct oidc_settings *settings, const struct jwt *t, int64_t now,
                        struct token_claims *out, struct err *err) {
    const char *issuer = json_get_string(t->claims, "iss"), *id = json_get_string(t->claims, "jti");
    if (issuer == NULL || strcmp(issuer, settings->issuer) != 0)
        return err_set(err, "a token of another issuer");
    if (!jwt_audience(t, settings->audience))
        return err_set(err, "a token for another audience");
    if (!jwt_times(t, now, JWT_LEEWAY_S, &out->ends, err) || !read_name(settings, t, out, err))
        return false;
    out->ends += JWT_LEEWAY_S;
    if (!jwt_time(t, "iat", &out->issued))
        out->issued = 0;
    out->id = mem_strdup(id);
    return settings->groups_claim == NULL || jwt_texts(t, settings->groups_claim, &out->groups, &out->group_count, err);
}

bool oidc_verify(const struct oidc_settings *settings, const struct jwks *keys, const struct jwt *t, int64_t now,
                 struct token_claims *out, struct err *err) {
    *out = (struct token_claims){0};
    if (check_signature(keys, t, err) && read_claims(settings, t, now, out, err))
        return true;
    token_claims_deinit(out);
    return false;
}
