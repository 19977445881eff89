// SPDX-License-Identifier: Apache-2.0
//
// Tokens of our own: ES256 JWTs, signed with keys that live in the state directory.
//
// `token-keys.json` holds the keys: the newest signs, those before it are good for verifying until the last token that
// they signed has ended. `token-revocations.json` holds what is good no more. Both are replaced whole under a lock, so
// that several gateways and the command may share the directory. What is read is immutable and counted; any thread.
// Verifying is pure: time is an argument.

#pragma once

#include "gateway/identity/jwt.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_KEYS_FILE "token-keys.json"
#define TOKEN_REVOCATIONS_FILE "token-revocations.json"
#define TOKEN_ISSUER "pullgate" ///< Also the audience.

enum {
    TOKEN_GIVEN_MAX_S = 24 * 3600,        ///< The longest life of a token that /token gives.
    TOKEN_ISSUED_MAX_S = 400 * 24 * 3600, ///< And of one that the command prints.
    TOKEN_KEYS_MAX = 50,
    TOKEN_REVOCATIONS_MAX = 20000,
    TOKEN_ROTATED_AFTER_S = 90 * 24 * 3600, ///< A gateway makes a new key when the newest is older.
    TOKEN_KEY_RIPE_S = 10,                  ///< A new key signs when others have had the time to read it.
    TOKEN_HANDOVER_S = 60,                  ///< Until then the one before it may still sign.
    TOKEN_ID_LEN = 32
};

// --- keys ---

struct token_keys;

struct token_keys *token_keys_parse(const char *text, size_t len, struct err *err);
struct token_keys *token_keys_ref(struct token_keys *k);
void token_keys_unref(struct token_keys *k); ///< NULL is allowed.
size_t token_keys_count(const struct token_keys *k);

/// When the newest was made.
int64_t token_keys_newest(const struct token_keys *k);

/// Read them; make the first one if there is none.
struct token_keys *token_keys_load(const char *state_directory, int64_t now, struct err *err);

/// Make a new key; one that is younger than `unless_younger_s` stays the newest (0: none does). Keys whose tokens have
/// ended are left out. Who says 0 waits for others that are at the files; a gateway, which does not, tries later.
bool token_keys_rotate(const char *state_directory, int64_t now, int64_t unless_younger_s, struct err *err);

// --- revocations ---

struct token_revoked;

/// `text` NULL: none.
struct token_revoked *token_revoked_parse(const char *text, size_t len, struct err *err);
struct token_revoked *token_revoked_ref(struct token_revoked *r);
void token_revoked_unref(struct token_revoked *r); ///< NULL is allowed.
struct token_revoked *token_revoked_load(const char *state_directory, struct err *err);

/// `id` is 32 hexadecimal digits as a token's "jti", or else a name; "alice" is "user:alice".
bool token_revoke(const char *state_directory, const char *id_or_name, int64_t now, struct err *err);

/// Can a token be revoked by this id: has it the form of ours?
bool token_is_id(const char *id);

/// Is a token of this id (may be NULL) or name, issued at `iat`, revoked?
bool token_is_revoked(const struct token_revoked *r, const char *id, const char *name, int64_t iat);

// --- tokens ---

struct token_claims {
    char *name; ///< "user:alice"; "" for nobody.
    char **groups;
    size_t group_count;
    char *scope;     ///< NULL: everything.
    char *id, *from; ///< Its own id, and that of the token from which it came, the first of several; NULL.
    int64_t issued, ends;
};

void token_claims_deinit(struct token_claims *c);

/// A token that names us as its issuer: its signature, its times, whether it is revoked, its claims' types.
bool token_verify(const struct token_keys *keys, const struct token_revoked *revoked, const struct jwt *t, int64_t now,
                  struct token_claims *out, struct err *err);

/// Sign; the id is made here (`c->id` is ignored). The caller wipes and frees it. NULL: too long (too many groups).
char *token_sign(const struct token_keys *keys, const struct token_claims *c, int64_t now, struct err *err);

/// "user:alice" from "alice" or "user:alice"; NULL and `err` for what is no name, or another kind's.
char *token_name(const char *name, struct err *err);
