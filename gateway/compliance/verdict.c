// SPDX-License-Identifier: Apache-2.0
//
// See verdict.h. What is open stays open until the machine says otherwise, however long ago it said so.

#include "gateway/compliance/verdict.h"

#include <string.h>

static enum compliance say(enum compliance c, const char *sentence, const char **why) {
    if (why != NULL)
        *why = sentence;
    return c;
}

enum compliance compliance_judge(const struct told *t, int64_t received, const struct compliance_terms *terms,
                                 const char **why) {
    if (t == NULL)
        return say(COMPLIANCE_UNKNOWN, "it is expected and has never reported", why);
    if (t->verdict == TOLD_OPEN)
        return say(COMPLIANCE_NON_COMPLIANT, "a client can leave the gateway, or does not use it", why);
    if (terms->now - received > (int64_t)terms->outdated_after_s)
        return say(COMPLIANCE_OUTDATED, "its last report is too old", why);
    if (received - terms->now > (int64_t)terms->outdated_after_s) // The clock was wrong then, or is now.
        return say(COMPLIANCE_OUTDATED, "its last report came at a time that is yet to come", why);
    if (t->site[0] != '\0' && terms->site[0] != '\0' && strcmp(t->site, terms->site) != 0)
        return say(COMPLIANCE_OUTDATED, "it was checked against another description of this site", why);
    if (t->verdict == TOLD_UNKNOWN)
        return say(COMPLIANCE_UNKNOWN, "something could not be told there", why);
    if (t->site[0] == '\0' && terms->site[0] != '\0')
        return say(COMPLIANCE_UNKNOWN, "it was checked without a description of this site", why);
    return say(COMPLIANCE_COMPLIANT, "nothing is open", why);
}

const char *compliance_word(enum compliance c) {
    static const char *const words[] = {"compliant", "non-compliant", "outdated", "unknown"};
    return words[c];
}

const char *compliance_title(enum compliance c) {
    static const char *const titles[] = {"Compliant", "Non-compliant", "Outdated", "Unknown"};
    return titles[c];
}
