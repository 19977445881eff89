// SPDX-License-Identifier: Apache-2.0
//
// The log: one JSON line a decision, or a readable line when it goes to a terminal.
//
// Callers on any thread hand over a finished record; a writer thread of its own formats and writes it, so that a slow
// disk or pipe never stalls a loop. The queue is bounded, in records and in bytes: when full, records are dropped and
// counted (`on_full: drop`, told in one line when it recovers) or the caller waits (`block`). A line that cannot be
// written (disk full, reader gone) is dropped and counted too; the next one is tried again. No secrets: records have no
// field for headers, and callers pass URLs without query.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    AUDIT_QUEUE_MAX = 8192,                   ///< Records that wait.
    AUDIT_QUEUE_BYTES_MAX = 32 * 1024 * 1024, ///< And their bytes together.
    AUDIT_FIELD_MAX = 1024,
    AUDIT_HOPS_MAX = 8,
    AUDIT_DRAIN_SECONDS = 5 ///< How long audit_free() waits for a reader that does not read.
};

enum audit_on_full { AUDIT_DROP, AUDIT_BLOCK };

/// One decision. Strings are copied by audit_write(); NULL and "" leave a field out. Over AUDIT_FIELD_MAX bytes they
/// are cut.
struct audit_record {
    const char *event; ///< "request" for decisions; "start", "stop", "reload", "upstream", ... for others.
    const char *id;
    const char *config; ///< 12 hex digits of the configuration's SHA-256.
    const char *listener;
    const char *route;  ///< "ns", "root", "prefix", "outer_prefix".
    const char *client; ///< Peer address, IPv4 where mapped.
    const char *who;
    const char *how; ///< How the asker was identified.
    const char *user_agent;
    const char *method;
    const char *registry, *repository, *reference;
    const char *digest; ///< What the tag was.
    const char *media_type;
    const char *action;     ///< pull, push, delete, list.
    const char *decision;   ///< allow, deny.
    const char *would;      ///< What a monitored rule or mode would have done: "deny", or "allow" for an allow rule.
    const char *would_rule; ///< And which, or which configuration key would have to be added.
    const char *rule;
    const char *reason;               ///< denial_reason_word().
    const char *source;               ///< Whence the content came: "hit", "follow", "miss", "stale".
    const char *upstream;             ///< host:port of the endpoint that was asked.
    const char *hops[AUDIT_HOPS_MAX]; ///< host:port of redirects that were followed, in order.
    int hop_count;
    int status;          ///< 0: left out.
    int64_t bytes;       ///< Body bytes sent; -1: left out.
    int64_t ms;          ///< From request head to end; -1: left out.
    int verified;        ///< 1 true, 0 false, -1 left out.
    uint64_t dropped;    ///< "log_recovered" only: records lost before this one. 0: left out.
    const char *message; ///< A sentence for a person.
};

struct audit;

/// `path` NULL: standard output, readable lines where that is a terminal (coloured unless NO_COLOR is set or TERM is
/// "dumb"). A file is made 0640 where it is missing, and appended to. `gateway` is this gateway's name (host name), in
/// every line.
struct audit *audit_new(const char *path, const char *gateway, enum audit_on_full on_full, struct err *err);

/// Write out what is queued (for at most AUDIT_DRAIN_SECONDS where the reader is stuck), stop the thread, close. No
/// other thread may be writing. NULL is allowed.
void audit_free(struct audit *a);

/// Never blocks with AUDIT_DROP. The line's time is the time of this call.
void audit_write(struct audit *a, const struct audit_record *r);

/// Close and open the file again (log rotation); the writer thread does it before its next line. If the file cannot be
/// opened, writing goes on to the old one, which is told so. Standard output: nothing. Not for signal handlers.
void audit_reopen(struct audit *a);

/// How many records were dropped since the start.
uint64_t audit_dropped(const struct audit *a);

/// Format one record as it would be written (for tests): JSON with a newline, or a terminal line. `now_ms`: Unix
/// milliseconds. Result is the caller's to free.
char *audit_format(const struct audit_record *r, const char *gateway, int64_t now_ms, bool terminal);
