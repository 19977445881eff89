// SPDX-License-Identifier: Apache-2.0
//
// What a report holds; for report.c and report_text.c alone.

#pragma once

#include "gateway/doctor/report.h"

enum { SEVERITIES = FINDING_OPEN + 1 };

struct report {
    char *machine, *machine_id, *gateway, *site; ///< Or NULL.
    char *root;                                  ///< As a shell's word, or NULL.
    struct found_client *clients;
    size_t client_count;
    struct finding *findings;
    size_t finding_count;
    size_t counts[SEVERITIES]; ///< Also of findings beyond REPORT_FINDINGS_MAX.
};
