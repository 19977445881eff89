// SPDX-License-Identifier: Apache-2.0
//
// How a denial is told, so that the client's pull ends and its user reads why.
//
// A plain 403 sends most clients on to the registry itself. The answers made here were tried with every client: they
// end the pull and still show one sentence. This room is pure but for the table of answers already given, which has its
// own lock.

#pragma once

#include "gateway/policy/policy.h"
#include "gateway/route/route.h"
#include "mirrors/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DENIAL_SENTENCE_MAX = 400, DENIAL_TABLE_MAX = 10000, DENIAL_TTL_SECONDS = 3600, REQUEST_ID_MAX = 32 };

/// Why something was refused: a closed list; denial_reason_word() is its word in the log and in the documentation.
enum denial_reason {
    REASON_NONE,
    REASON_REGISTRY_NOT_LISTED,
    REASON_RULE,
    REASON_NO_RULE,
    REASON_NO_LINK,
    REASON_ACTION, ///< Push, delete, _catalog.
    REASON_REDIRECT_HOST,
    REASON_REALM_HOST,
    REASON_REDIRECT, ///< A redirect that is not followed whatever the lists say: to http, too many, malformed.
    REASON_PRIVATE_ADDRESS,
    REASON_URLS,
    REASON_SCHEMA1,
    REASON_AMBIGUOUS,
    REASON_MEDIA_TYPE,
    REASON_TOO_LARGE,
    REASON_MALFORMED,     ///< A document that is none.
    REASON_DIGEST,        ///< Content is not what its digest says.
    REASON_UPSTREAM_AUTH, ///< The registry refused us.
    REASON_UPSTREAM_ERROR,
    REASON_UPSTREAM_TIMEOUT,
    REASON_UPSTREAM_LIMIT, ///< 429.
    REASON_NOT_FOUND,
    REASON_REQUEST,      ///< A malformed request.
    REASON_CONNECT,      ///< Asked as a proxy, for what is not served that way.
    REASON_UNIDENTIFIED, ///< Nobody may ask here without saying who they are.
    REASON_CREDENTIAL,   ///< A credential that is not good, or too many of those.
    REASON_CANARY,       ///< The canary, which no site allows.
    REASON_LOOP          ///< The gateway's own request, come back.
};

const char *denial_reason_word(enum denial_reason reason);

// --- the sentence ---

struct denial_words {
    const char *rule_message; ///< The rule's own `message`, or NULL.
    const char *site_message; ///< The top-level `message`, or NULL.
    const char *own;          ///< The gateway's own words: what, why, the host or key to add.
    const char *image;        ///< For {image}: registry/repository:tag or @digest.
    const char *registry;
    const char *rule; ///< "" where no rule decided.
    const char *who;  ///< "" for anonymous.
    const char *id;
};

/// A template's placeholders are known ({image} {registry} {rule} {who} {id}; any other brace is an error), it is one
/// printable line and not blank, and what it says itself is at most DENIAL_SENTENCE_MAX bytes.
bool denial_template_valid(const char *text, struct err *err);

/// The denial's one line, at most DENIAL_SENTENCE_MAX bytes plus NUL, printable, valid UTF-8, no line breaks: the
/// rule's message, expanded, if it has one; else the gateway's own words followed by the site's message. Too long: the
/// gateway's words are cut ("..."), never the site's. A placeholder's value counts as the gateway's: where a message
/// and its values are too long together, the longest values are cut.
void denial_sentence(const struct denial_words *words, char out[DENIAL_SENTENCE_MAX + 1]);

/// What the gateway's own words speak of. NULL and "" are left out.
struct denial_subject {
    enum action action;
    const char *image;    ///< registry/repository:tag or @digest; a repository for list.
    const char *registry; ///< As the configuration would name it.
    const char *rule;     ///< The name of the rule that decided.
    bool others;          ///< It would be permitted to somebody else...
    const char *who;      ///< ... than to this one.
    const char *detail;   ///< A sentence or its part that says more: from target_judge(), document_judge(), ...
};

/// The gateway's own words for a refusal: what, and why. Where a detail is given, it is the why of every reason but
/// REASON_REGISTRY_NOT_LISTED, REASON_RULE, REASON_NO_RULE, REASON_NO_LINK and REASON_ACTION. One printable line, cut
/// to `size` bytes with its NUL; an overlong image is shortened so that the why stays visible.
void denial_own_words(enum denial_reason reason, const struct denial_subject *subject, char *out, size_t size);

// --- who is asking, as far as the answer's form depends on it ---

enum client_kind {
    CLIENT_OTHER,
    CLIENT_DOCKER,           ///< "docker/..." without "containerd-client": the graphdriver's pull.
    CLIENT_CONTAINERS_IMAGE, ///< podman, buildah, skopeo, CRI-O, or a request header Docker-Distribution-Api-Version.
    CLIENT_CONTAINERD        ///< containerd, BuildKit, Docker's containerd store: what a refused HEAD says is lost.
};

/// `user_agent` may be NULL. "docker/..." is judged by itself, whatever other headers come with it.
enum client_kind denial_client(const char *user_agent, size_t len, bool has_api_version_header);

// --- the answer ---

enum denial_style { DENIALS_FINAL, DENIALS_PLAIN };

struct denial_answer {
    int status; ///< 200, 307 or 403.
    char content_type[128];
    char docker_content_digest[DIGEST_TEXT_MAX + 1]; ///< "" without.
    char *location;                                  ///< 307 only: deliberately unparsable. Else NULL.
    size_t content_length; ///< What Content-Length says (a HEAD may name 2 for content that never comes).
    char *body;            ///< NULL for none; for HEAD it is left out when sending, the length stays.
    size_t body_len;
};

void denial_answer_deinit(struct denial_answer *a);

struct denials;

/// The table of answers given: `secret` (32 bytes, random per process) makes digests that exist nowhere.
struct denials *denials_new(const uint8_t secret[32]);
void denials_free(struct denials *d);

/// Answer a denied request. `reason` decides with the route and client which form is used: REASON_UPSTREAM_AUTH is
/// always plain, as are blobs, tags/list, referrers, push and delete. With an answer that makes up a digest the table
/// remembers (registry, repository, digest) -> sentence and id, until DENIAL_TTL_SECONDS after it was last handed out.
/// The same denial with the same sentence makes the same digest.
void denials_answer(struct denials *d, enum denial_style style, const struct route *route, enum client_kind client,
                    enum denial_reason reason, const char *sentence, const char *id, int64_t now,
                    struct denial_answer *out);

/// Asked before the rules, for every request: is this for a digest that a denial handed out in this repository? Then
/// `out` is the answer that belongs to it and true: for a pinned digest 403 DENIED with the first sentence (its HEAD
/// again the first 200), for a notice the same bytes, for the blob that a notice names 403 DENIED. `id` (REQUEST_ID_MAX
/// + 1 bytes) is that of the answer that handed it out. Only digests that this process made are remembered, never one
/// that a client asked for: what may be pulled after all is not kept from anyone.
/// `reason` is the first denial's.
bool denials_again(struct denials *d, const struct route *route, int64_t now, struct denial_answer *out, char *id,
                   enum denial_reason *reason);

// --- plain OCI errors ---

/// {"errors":[{"code":CODE,"message":MESSAGE}]} as fresh memory; `*len` its length.
char *denial_error_body(const char *code, const char *message, size_t *len);
