// SPDX-License-Identifier: Apache-2.0
//
// See verdict.h.

#include "gateway/config/verdict.h"

#include "gateway/policy/canary.h"

#include <stdio.h>

void question_format(const struct question *q, char *out) {
    bool tag = q->tag != NULL && q->tag[0] != '\0', digest = q->digest != NULL && q->digest[0] != '\0';
    snprintf(out, IMAGE_TEXT_MAX + 1, "%s/%s%s%s%s%s", q->registry, q->repository, tag ? ":" : "", tag ? q->tag : "",
             digest ? "@" : "", digest ? q->digest : "");
}

static enum denial_reason reason_of(const struct decision *d) {
    if (d->allow)
        return REASON_NONE;
    switch (d->reason) {
    case DECIDED_BY_RULE:
        return REASON_RULE;
    case DECIDED_NOT_LISTED:
        return REASON_REGISTRY_NOT_LISTED;
    case DECIDED_CANARY:
        return REASON_CANARY;
    case DECIDED_NO_LINK:
        return REASON_NO_LINK;
    case DECIDED_ACTION:
        return REASON_ACTION;
    case DECIDED_NO_RULE:
    case DECIDED_REGISTRIES_ONLY:
    case DECIDED_LINK:
        break;
    }
    return REASON_NO_RULE;
}

static bool monitor_permits(const struct config *c, const struct question *q, const struct verdict *v) {
    return c->monitor && v->registry != NULL && (q->action == ACTION_PULL || q->action == ACTION_LIST) &&
           v->reason != REASON_REGISTRY_NOT_LISTED;
}

static const char *who_of(const struct question *q) {
    return q->asker != NULL && q->asker->name != NULL ? q->asker->name : "";
}

void config_verdict(const struct config *c, const struct question *q, policy_links_fn links, void *links_ctx,
                    struct verdict *out) {
    char image[IMAGE_TEXT_MAX + 1];
    *out = (struct verdict){.registry = config_registry(c, q->registry)};
    if (q->action == ACTION_LIST)
        policy_decide_list(c->policy, q, &out->decision);
    else
        policy_decide(c->policy, q, links, links_ctx, &out->decision);
    if (out->registry == NULL)
        out->decision = (struct decision){.reason = is_canary(q->registry) ? DECIDED_CANARY : DECIDED_NOT_LISTED,
                                          .rule = DECISION_NO_RULE,
                                          .would = DECISION_NO_RULE};
    if (out->decision.rule != DECISION_NO_RULE)
        out->rule = policy_rule_name(c->policy, out->decision.rule);
    out->reason = reason_of(&out->decision);
    out->would_deny = !out->decision.allow && monitor_permits(c, q, out);
    out->allow = out->decision.allow || out->would_deny;
    if (out->decision.allow)
        return;
    question_format(q, image);
    struct denial_subject subject = {.action = q->action,
                                     .image = image,
                                     .registry = q->registry,
                                     .rule = out->rule,
                                     .others = out->decision.others,
                                     .who = who_of(q)};
    denial_own_words(out->reason, &subject, out->own, sizeof out->own);
}

void config_sentence(const struct config *c, const struct verdict *v, const struct question *q, const char *id,
                     char out[DENIAL_SENTENCE_MAX + 1]) {
    char image[IMAGE_TEXT_MAX + 1];
    bool by_rule = v->reason == REASON_RULE && v->decision.rule != DECISION_NO_RULE;
    question_format(q, image);
    struct denial_words words = {
        .rule_message = by_rule ? policy_rule_message(c->policy, v->decision.rule) : NULL,
        .site_message = c->message,
        .own = v->own,
        .image = image,
        .registry = q->registry,
        .rule = v->rule != NULL ? v->rule : "",
        .who = who_of(q),
        .id = id,
    };
    denial_sentence(&words, out);
}
