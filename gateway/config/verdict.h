// SPDX-License-Identifier: Apache-2.0
//
// A whole decision: the registries and the rules, monitor mode, and the words for whoever was denied.
//
// policy_decide() knows the rules only; this adds what the configuration around them says. A live request and `pullgate
// explain` both decide here, so that what explain prints is what a client gets. Pure; any thread.

#pragma once

#include "gateway/config/config.h"

enum { VERDICT_OWN_MAX = 512 };

struct verdict {
    const struct registry *registry; ///< That covers the name; NULL: not listed, and never to be contacted.
    struct decision decision;        ///< What the rules say.
    bool allow;                      ///< After monitor mode.
    bool would_deny;                 ///< Monitor mode lets it pass: the log says `would: deny`.
    enum denial_reason reason;       ///< Why the rules deny it; REASON_NONE when they allow it.
    const char *rule;                ///< Name of the rule that decided, or NULL.
    char own[VERDICT_OWN_MAX];       ///< The gateway's own words when the rules deny it, else "".
};

/// Decide `q`. For ACTION_LIST policy_decide_list() is asked. Monitor mode lets pulls and lists pass that only the
/// rules deny: never an unlisted registry, never push or delete.
void config_verdict(const struct config *c, const struct question *q, policy_links_fn links, void *links_ctx,
                    struct verdict *out);

/// The one line for a denial with reason v->reason and the words v->own, out of the rule's message, the gateway's own
/// words and the site's message.
void config_sentence(const struct config *c, const struct verdict *v, const struct question *q, const char *id,
                     char out[DENIAL_SENTENCE_MAX + 1]);

/// registry/repository[:tag][@digest] of a question; `out` has IMAGE_TEXT_MAX + 1 bytes.
void question_format(const struct question *q, char *out);
