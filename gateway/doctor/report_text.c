// SPDX-License-Identifier: Apache-2.0
//
// A report as a table for people and as JSON for fleets.

#include "gateway/doctor/report_inside.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INDENT = 9, LINE_WIDTH = 110 };

static const char *const severity_words[] = {"ok", "note", "warning", "unknown", "open"};
static const char *const tristate_words[] = {"no", "yes", "unknown"};

static const char *verdict(const struct report *r) {
    static const char *const words[] = {[0] = "closed", [1] = "open", [3] = "unknown"};
    return words[report_exit_status(r)];
}

// --- for people ---

static const char *or_question(const char *s) {
    return s != NULL ? s : "?";
}

static void print_clients(const struct report *r, FILE *out) {
    if (r->client_count == 0)
        return;
    fprintf(out, "%-16s %-20s %-16s %s\n", "CLIENT", "VERSION", "USES THE GATEWAY", "CAN LEAVE IT");
    for (size_t i = 0; i < r->client_count; i++) {
        const struct found_client *c = &r->clients[i];
        fprintf(out, "%-16s %-20s %-16s %s\n", c->name, or_question(c->version), tristate_words[c->uses],
                tristate_words[c->leaves]);
    }
    fputc('\n', out);
}

/// At most LINE_WIDTH columns (bytes, near enough), further lines below the first.
static void print_wrapped(const char *first, const char *text, FILE *out) {
    size_t column = strlen(first);
    fputs(first, out);
    for (bool begins = true; *text != '\0'; begins = false) {
        size_t len = strcspn(text, " ");
        if (!begins && column + 1 + len > LINE_WIDTH) {
            fprintf(out, "\n%*s", INDENT, "");
            column = INDENT;
        } else if (!begins) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)len, text);
        column += len;
        text += len + (text[len] == ' ' ? 1 : 0);
    }
    fputc('\n', out);
}

static void print_finding(const struct finding *f, FILE *out) {
    char first[INDENT + 1];
    snprintf(first, sizeof first, "%-*s", INDENT, severity_words[f->severity]);
    char *what = mem_printf("%s: %s [%s]", f->client, f->what, f->code);
    print_wrapped(first, what, out);
    free(what);
    if (f->where != NULL)
        fprintf(out, "%*s%s\n", INDENT, "", f->where);
    if (f->todo != NULL)
        print_wrapped("         to do: ", f->todo, out);
    if (f->command != NULL)
        fprintf(out, "%*s$ %s\n", INDENT, "", f->command);
}

static void print_findings(const struct report *r, enum severity severity, FILE *out) {
    for (size_t i = 0; i < r->finding_count; i++)
        if (r->findings[i].severity == severity)
            print_finding(&r->findings[i], out);
}

void report_table(const struct report *r, FILE *out) {
    fprintf(out, "machine  %s\ngateway  %s\n\n", or_question(r->machine), or_question(r->gateway));
    print_clients(r, out);
    for (int severity = FINDING_OPEN; severity >= FINDING_OK; severity--)
        print_findings(r, (enum severity)severity, out);
    fprintf(out, "%s%s: %zu open, %zu unknown, %zu warning%s, %zu note%s\n", r->finding_count > 0 ? "\n" : "",
            verdict(r), r->counts[FINDING_OPEN], r->counts[FINDING_UNKNOWN], r->counts[FINDING_WARNING],
            r->counts[FINDING_WARNING] == 1 ? "" : "s", r->counts[FINDING_NOTE],
            r->counts[FINDING_NOTE] == 1 ? "" : "s");
}

// --- for fleets ---

static void add(struct buf *b, const char *key, const char *value) {
    if (value == NULL)
        return;
    buf_addf(b, ",\"%s\":", key);
    buf_add_json(b, value, strlen(value));
}

static void add_time(struct buf *b, int64_t now) {
    char text[32] = "";
    time_t seconds = (time_t)now;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    add(b, "time", text);
}

static void add_client(struct buf *b, const struct found_client *c) {
    buf_adds(b, "{\"name\":");
    buf_add_json(b, c->name, strlen(c->name));
    add(b, "version", c->version);
    add(b, "uses", tristate_words[c->uses]);
    add(b, "leaves", tristate_words[c->leaves]);
    buf_adds(b, "}");
}

static void add_finding(struct buf *b, const struct finding *f) {
    buf_adds(b, "{\"client\":");
    buf_add_json(b, f->client, strlen(f->client));
    add(b, "severity", severity_words[f->severity]);
    add(b, "code", f->code);
    add(b, "where", f->where);
    add(b, "what", f->what);
    add(b, "todo", f->todo);
    add(b, "command", f->command);
    buf_adds(b, "}");
}

/// The gravest first; those that would make the text too long for the gateway are counted instead.
static size_t add_findings(struct buf *b, const struct report *r, size_t room) {
    size_t written = 0;
    for (int severity = FINDING_OPEN; severity >= FINDING_OK; severity--)
        for (size_t i = 0; i < r->finding_count; i++) {
            if ((int)r->findings[i].severity != severity)
                continue;
            struct buf one;
            buf_init(&one, REPORT_TEXT_MAX);
            add_finding(&one, &r->findings[i]);
            if (one.overflow || b->len + one.len + 1 > room) {
                buf_deinit(&one);
                return written;
            }
            buf_adds(b, written > 0 ? "," : "");
            buf_add(b, one.data, one.len);
            buf_deinit(&one);
            written++;
        }
    return written;
}

static size_t all_counted(const struct report *r) {
    size_t all = 0;
    for (size_t i = 0; i < SEVERITIES; i++)
        all += r->counts[i];
    return all;
}

bool report_json(const struct report *r, int64_t now, struct buf *out) {
    enum { TAIL_ROOM = 256 };
    buf_addf(out, "{\"format\":%d", REPORT_FORMAT);
    add(out, "pullgate", PULLGATE_VERSION);
    add(out, "machine", r->machine);
    add(out, "machine_id", r->machine_id);
    add_time(out, now);
    add(out, "gateway", r->gateway);
    add(out, "site", r->site);
    add(out, "verdict", verdict(r));
    buf_adds(out, ",\"clients\":[");
    for (size_t i = 0; i < r->client_count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        add_client(out, &r->clients[i]);
    }
    buf_adds(out, "],\"findings\":[");
    size_t written = add_findings(out, r, REPORT_TEXT_MAX - TAIL_ROOM);
    buf_adds(out, "]");
    if (written < all_counted(r))
        buf_addf(out, ",\"findings_left_out\":%zu", all_counted(r) - written);
    buf_adds(out, "}");
    return !out->overflow;
}
