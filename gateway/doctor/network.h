// SPDX-License-Identifier: Apache-2.0
//
// What doctor asks the network: the gateway, the registries' own endpoints (--probe), a pull (--pull), and where a
// report goes (--report). Each is bounded in time; all block. One thread.

#pragma once

#include "gateway/doctor/doctor.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"

#include <stdbool.h>

enum { GATEWAY_SECONDS = 10, PROBE_MS = 3000, PULL_SECONDS = 120, SEND_SECONDS = 10 };

/// Does the gateway answer, with a certificate that the machine trusts, and does it deny what no policy allows?
void gateway_judge(struct doctor *d);

/// A gateway in monitor mode enforces nothing.
void gateway_judge_mode(struct doctor *d, bool monitor);

/// Is the description on this machine still the gateway's own? Judges the mode that the gateway tells, too.
void gateway_judge_site(struct doctor *d);

/// Try a TCP connection to each of the site's registries' own hosts, in parallel: one that opens is a way past the
/// gateway, for whoever configures a client of their own.
void probe_judge(struct doctor *d);

/// Pull `image` with each client that is installed here.
void pull_judge(struct doctor *d, const char *image);

/// POST the report to `url` (NULL: the site's gateway), as the machine: its certificate and headers. `answer` gets what
/// the gateway said of it.
bool report_send(const struct doctor *d, const char *url, const struct buf *json, struct buf *answer, struct err *err);

// --- what they share ---

typedef void CURL;
struct curl_slist;

/// A handle with the machine's own CA, certificate and headers (`*headers` is to be freed with the handle), no proxy,
/// no redirects, `seconds` for all of it. NULL: libcurl cannot be used.
CURL *machine_request(const struct doctor *d, const char *url, unsigned seconds, struct buf *body, char *error,
                      struct curl_slist **headers);
