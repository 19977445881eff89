// SPDX-License-Identifier: Apache-2.0
//
// What doctor found: findings, gathered by client, for people (a table), for fleets (JSON), for scripts (an exit
// status).
//
// A finding's code is one of a closed list that docs/doctor.md explains; its sentence says what was found, `todo` what
// to do about it, `command` the command that does it. The JSON is also what the gateway keeps (POST
// /pullgate/v1/report), so it never holds a secret, a password or a header's value. Its form:
//
//     { "format": 1, "pullgate": "0.1.0", "machine": "web-1", "machine_id": "…" (of /etc/machine-id, hashed), "time":
//     RFC 3339,
//       "gateway": "https://…", "site": hash of the description, "verdict": "closed" | "open" | "unknown",
//       "clients": [ { "name": "docker", "version": "29.7.2", "uses": "yes|no|unknown", "leaves": "yes|no|unknown" } ],
//       "findings": [ { "client": "docker", "severity": "open|warning|note|ok|unknown", "code": "fallback", "where":
//       "/etc/docker/daemon.json",
//                       "what": "…", "todo": "…", "command": "…" } ] }
//
// Plain memory; one thread.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { REPORT_FORMAT = 1, REPORT_TEXT_MAX = 64 * 1024, REPORT_FINDINGS_MAX = 1000 };

enum severity {
    FINDING_OK,      ///< As it should be; shown so that a person sees that it was looked at.
    FINDING_NOTE,    ///< Worth knowing; nothing to do.
    FINDING_WARNING, ///< Will or may become one: a certificate that ends soon.
    FINDING_UNKNOWN, ///< It could not be told: a file that may not be read.
    FINDING_OPEN,    ///< This client can leave the gateway, or does not use it.
};

enum tristate { TRI_NO, TRI_YES, TRI_UNKNOWN };

struct finding {
    enum severity severity;
    const char *code; ///< Static, from the list in finding_codes().
    char *client;     ///< A client's name, or "gateway", "network".
    char *where;      ///< A file, a line, an address; or NULL.
    char *what;
    char *todo;    ///< Or NULL.
    char *command; ///< Or NULL.
};

struct found_client {
    char *name;
    char *version; ///< Or NULL: not known.
    enum tristate uses, leaves;
};

struct report;

struct report *report_new(void);
void report_free(struct report *r);

/// Facts about the whole; each may be NULL. Copied.
void report_machine(struct report *r, const char *name, const char *machine_id_hash);
void report_gateway(struct report *r, const char *url, const char *site_hash);

/// The machine is below this folder: commands that read or write one are told with it. NULL: it is this one.
void report_root(struct report *r, const char *root);

/// A client that is installed here; the pointer is good until the next call.
struct found_client *report_client(struct report *r, const char *name, const char *version);

/// Add a finding; texts are copied. FINDING_OPEN makes the client's `leaves` (or, with code "unused", `uses`) what it
/// says. Beyond REPORT_FINDINGS_MAX it is only counted.
void report_add(struct report *r, enum severity severity, const char *code, const char *client, const char *where,
                const char *todo, const char *command, const char *format, ...) __attribute__((format(printf, 8, 9)));

size_t report_count(const struct report *r, enum severity severity);
const struct finding *report_findings(const struct report *r, size_t *count);
const struct found_client *report_clients(const struct report *r, size_t *count);

/// Make one printable line of at most `max` bytes of a text that strangers may have written; the same text.
char *report_clean(char *text, size_t max);

/// `text` as one word for a shell, quoted where that is needed: fresh memory.
char *report_shell_word(const char *text);

/// The closed list of codes, NULL at the end.
const char *const *finding_codes(void);

void report_table(const struct report *r, FILE *out);
bool report_json(const struct report *r, int64_t now, struct buf *out);

/// 0: nothing open and nothing unknown. 1: something is open. 3: nothing open, but something could not be told.
int report_exit_status(const struct report *r);
