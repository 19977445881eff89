// SPDX-License-Identifier: Apache-2.0
//
// What is kept of a machine's report: the form of doctor/report.h, read strictly, cut to what is worth keeping.
//
// A report is a stranger's word: texts are made printable and cut, lists are bounded, and what says that a client can
// leave makes the verdict "open" whatever the report's own verdict says. Of the findings the worst are kept. The text
// that is kept is a report itself, so what was written to a file is read back by the same function. Pure; any thread.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TOLD_TEXT_MAX = 8 * 1024, ///< Of the text kept.
    TOLD_CLIENTS_MAX = 32,
    TOLD_FINDINGS_MAX = 16, ///< Kept; all are counted.
    TOLD_TAIL_MAX = 256,    ///< Of it, what stands behind the findings.
    TOLD_NAME_MAX = 128,    ///< Bytes of a machine's name...
    TOLD_CLIENT_MAX = 32,   ///< ... of a client's, and its version...
    TOLD_WORD_MAX = 64,     ///< ... of a code, a machine-id...
    TOLD_PLACE_MAX = 160,   ///< ... of where something was found...
    TOLD_SENTENCE_MAX = 240 ///< ... and of what.
};

enum told_verdict { TOLD_CLOSED, TOLD_OPEN, TOLD_UNKNOWN };

struct told {
    char machine[TOLD_NAME_MAX + 1];
    char machine_id[TOLD_WORD_MAX + 1]; ///< "": none was told.
    char site[TOLD_WORD_MAX + 1];       ///< The hash of the description that it was made against; "": none.
    enum told_verdict verdict;
    unsigned open, unknown, warnings; ///< Findings of that severity.
    char *text;                       ///< What is kept, as JSON.
    size_t len;
};

/// NULL with a sentence that says what is wrong and repeats nothing of it.
struct told *told_parse(const char *text, size_t len, struct err *err);
void told_free(struct told *t); ///< NULL is allowed.
