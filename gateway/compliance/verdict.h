// SPDX-License-Identifier: Apache-2.0
//
// Whether a machine is as the site wants it, by the last that it told. docs/compliance.md has the words. Pure; any
// thread.

#pragma once

#include "gateway/compliance/told.h"

enum compliance {
    COMPLIANCE_COMPLIANT,     ///< Nothing is open, told lately, of this site.
    COMPLIANCE_NON_COMPLIANT, ///< Something is open, and nothing newer was told.
    COMPLIANCE_OUTDATED,      ///< Told too long ago, or of another description of the site.
    COMPLIANCE_UNKNOWN,       ///< Something could not be told, or nothing ever was.
    COMPLIANCE_COUNT
};

struct compliance_terms {
    int64_t now; ///< Unix seconds.
    unsigned outdated_after_s;
    const char *site; ///< The present description's hash; "": there is none to compare with.
};

/// `t` NULL: the machine never told anything. `received` in Unix seconds, by the gateway's clock. `why` (may be NULL)
/// is given a static sentence.
enum compliance compliance_judge(const struct told *t, int64_t received, const struct compliance_terms *terms,
                                 const char **why);

/// "compliant", "non-compliant", "outdated", "unknown": in figures, filters and JSON.
const char *compliance_word(enum compliance c);

/// "Compliant", ...: for people.
const char *compliance_title(enum compliance c);
