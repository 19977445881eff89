// SPDX-License-Identifier: Apache-2.0
//
// Reading a report, and writing what is kept of it.

#include "gateway/compliance/told.h"

#include "gateway/config/reader.h"
#include "gateway/denial/text.h"
#include "gateway/doctor/report.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { TIME_TEXT_MAX = 40, URL_TEXT_MAX = 300 };

/// The worst first: in this order they are kept.
static const char *const severities[] = {"open", "unknown", "warning", "note", "ok"};
enum { SEVERITY_OPEN, SEVERITY_UNKNOWN, SEVERITY_WARNING, SEVERITY_COUNT = 5 };

static const char *const verdicts[] = {"closed", "open", "unknown", NULL};
static const char *const tristates[] = {"yes", "no", "unknown", NULL};

// --- members ---

static bool fail(struct err *err, const char *key) {
    return err_set(err, "\"%s\" of the report is missing or not what it should be", key);
}

/// A text of the report, printable and cut to `size`; "" where it is missing or null.
static bool read_text(const struct json *object, const char *key, char *out, size_t size, struct err *err) {
    const struct json *value = json_get(object, key);
    out[0] = '\0';
    if (value == NULL || value->type == JSON_NULL)
        return true;
    if (value->type != JSON_STRING)
        return fail(err, key);
    text_copy(value->string, out, size, NULL);
    return true;
}

static bool read_needed(const struct json *object, const char *key, char *out, size_t size, struct err *err) {
    return read_text(object, key, out, size, err) && (out[0] != '\0' || fail(err, key));
}

static int index_of(const char *const *words, size_t count, const char *word) {
    for (size_t i = 0; word != NULL && i < count; i++)
        if (strcmp(words[i], word) == 0)
            return (int)i;
    return -1;
}

/// A list of at most `max` objects; NULL with `*ok`: there is none.
static const struct json *read_list(const struct json *root, const char *key, size_t max, bool *ok, struct err *err) {
    const struct json *list = json_get(root, key);
    *ok = list == NULL || (list->type == JSON_ARRAY && list->count <= max);
    if (!*ok)
        fail(err, key);
    return *ok && list != NULL ? list->child : NULL;
}

// --- writing ---

static void add(struct buf *out, const char *key, const char *text) {
    if (text[0] == '\0')
        return;
    buf_addf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", key);
    buf_add_json(out, text, strlen(text));
}

// --- clients ---

static bool read_client(const struct json *value, struct told *t, struct buf *out, struct err *err) {
    char name[TOLD_CLIENT_MAX + 1], version[TOLD_CLIENT_MAX + 1];
    const char *uses = json_get_string(value, "uses"), *leaves = json_get_string(value, "leaves");
    if (value->type != JSON_OBJECT || index_of(tristates, 3, uses) < 0 || index_of(tristates, 3, leaves) < 0)
        return fail(err, "clients");
    if (!read_needed(value, "name", name, sizeof name, err) ||
        !read_text(value, "version", version, sizeof version, err))
        return false;
    buf_adds(out, out->data[out->len - 1] == '[' ? "{" : ",{");
    add(out, "name", name);
    add(out, "version", version);
    add(out, "uses", uses);
    add(out, "leaves", leaves);
    buf_adds(out, "}");
    return true;
}

static bool read_clients(const struct json *root, struct told *t, struct buf *out, struct err *err) {
    bool ok = false;
    const struct json *value = read_list(root, "clients", TOLD_CLIENTS_MAX, &ok, err);
    buf_adds(out, ",\"clients\":[");
    for (; ok && value != NULL; value = value->next)
        ok = read_client(value, t, out, err);
    buf_adds(out, "]");
    return ok;
}

// --- findings ---

struct found {
    char client[TOLD_CLIENT_MAX + 1], code[TOLD_WORD_MAX + 1], where[TOLD_PLACE_MAX + 1], what[TOLD_SENTENCE_MAX + 1];
};

static bool read_found(const struct json *value, struct found *f, int *severity, struct err *err) {
    *severity = index_of(severities, SEVERITY_COUNT, json_get_string(value, "severity"));
    if (value->type != JSON_OBJECT || *severity < 0)
        return fail(err, "findings");
    return read_needed(value, "client", f->client, sizeof f->client, err) &&
           read_needed(value, "code", f->code, sizeof f->code, err) &&
           read_text(value, "where", f->where, sizeof f->where, err) &&
           read_text(value, "what", f->what, sizeof f->what, err);
}

static void count(struct told *t, int severity) {
    t->open += severity == SEVERITY_OPEN;
    t->unknown += severity == SEVERITY_UNKNOWN;
    t->warnings += severity == SEVERITY_WARNING;
}

static void write_found(struct buf *out, const struct found *f, int severity) {
    size_t before = out->len;
    buf_adds(out, out->data[out->len - 1] == '[' ? "{" : ",{");
    add(out, "client", f->client);
    add(out, "severity", severities[severity]);
    add(out, "code", f->code);
    add(out, "where", f->where);
    add(out, "what", f->what);
    buf_adds(out, "}");
    if (!out->overflow)
        return;
    out->overflow = false; // This one does not fit; what is there stays whole.
    out->len = before;
    out->data[before] = '\0';
}

/// All are read, and counted; those of this severity are written while there is room.
static bool read_severity(const struct json *value, int wanted, struct told *t, size_t *kept, struct buf *out,
                          struct err *err) {
    for (; value != NULL; value = value->next) {
        struct found f;
        int severity = 0;
        if (!read_found(value, &f, &severity, err))
            return false;
        if (severity != wanted)
            continue;
        count(t, severity);
        if (severity <= SEVERITY_WARNING && (*kept)++ < TOLD_FINDINGS_MAX)
            write_found(out, &f, severity);
    }
    return true;
}

static bool read_findings(const struct json *root, struct told *t, struct buf *out, struct err *err) {
    size_t kept = 0;
    bool ok = false;
    const struct json *list = read_list(root, "findings", REPORT_FINDINGS_MAX, &ok, err);
    buf_adds(out, ",\"findings\":[");
    out->max = TOLD_TEXT_MAX - TOLD_TAIL_MAX;
    for (int severity = 0; ok && severity < SEVERITY_COUNT; severity++)
        ok = read_severity(list, severity, t, &kept, out, err);
    out->max = TOLD_TEXT_MAX;
    buf_adds(out, "]");
    return ok;
}

/// What was kept says how many there were; a report as it comes has no such key.
static bool read_counts(const struct json *root, struct told *t, struct err *err) {
    static const char *const keys[] = {"open", "unknown", "warnings"};
    unsigned *const counts[] = {&t->open, &t->unknown, &t->warnings};
    const struct json *object = json_get(root, "counted");
    for (size_t i = 0; object != NULL && i < 3; i++) {
        const struct json *value = json_get(object, keys[i]);
        if (value == NULL || !value->is_integer || value->integer < 0 || value->integer > REPORT_FINDINGS_MAX)
            return fail(err, "counted");
        if ((unsigned)value->integer > *counts[i])
            *counts[i] = (unsigned)value->integer;
    }
    return true;
}

// --- the whole ---

static bool read_time(const struct json *root, char *out, struct err *err) {
    int64_t at = 0;
    return read_needed(root, "time", out, TIME_TEXT_MAX, err) && (time_parse(out, &at) || fail(err, "time"));
}

static bool read_head(const struct json *root, struct told *t, struct buf *out, struct err *err) {
    char version[TOLD_WORD_MAX + 1], at[TIME_TEXT_MAX], gateway[URL_TEXT_MAX];
    const struct json *format = json_get(root, "format");
    if (root->type != JSON_OBJECT || format == NULL || !format->is_integer || format->integer != REPORT_FORMAT)
        return fail(err, "format");
    int verdict = index_of(verdicts, 3, json_get_string(root, "verdict"));
    if (verdict < 0)
        return fail(err, "verdict");
    t->verdict = (enum told_verdict)verdict;
    if (!read_text(root, "pullgate", version, sizeof version, err) ||
        !read_needed(root, "machine", t->machine, sizeof t->machine, err) ||
        !read_text(root, "machine_id", t->machine_id, sizeof t->machine_id, err) || !read_time(root, at, err) ||
        !read_text(root, "gateway", gateway, sizeof gateway, err) ||
        !read_text(root, "site", t->site, sizeof t->site, err))
        return false;
    buf_addf(out, "{\"format\":%d", REPORT_FORMAT);
    add(out, "pullgate", version);
    add(out, "machine", t->machine);
    add(out, "machine_id", t->machine_id);
    add(out, "time", at);
    add(out, "gateway", gateway);
    add(out, "site", t->site);
    return true;
}

static bool read_report(const struct json *root, struct told *t, struct buf *out, struct err *err) {
    if (!read_head(root, t, out, err) || !read_clients(root, t, out, err) || !read_findings(root, t, out, err) ||
        !read_counts(root, t, err))
        return false;
    if (t->open > 0)
        t->verdict = TOLD_OPEN;
    else if (t->unknown > 0 && t->verdict == TOLD_CLOSED)
        t->verdict = TOLD_UNKNOWN;
    add(out, "verdict", verdicts[t->verdict]);
    buf_addf(out, ",\"counted\":{\"open\":%u,\"unknown\":%u,\"warnings\":%u}}", t->open, t->unknown, t->warnings);
    return true;
}

struct told *told_parse(const char *text, size_t len, struct err *err) {
    struct buf out;
    if (len > REPORT_TEXT_MAX) {
        err_set(err, "the report is over %d bytes", REPORT_TEXT_MAX);
        return NULL;
    }
    struct json *root = json_parse(text, len, JSON_STRICT, NULL);
    if (root == NULL) {
        err_set(err, "the report is no JSON that could be read");
        return NULL;
    }
    struct told *t = mem_zalloc(1, sizeof *t);
    buf_init(&out, TOLD_TEXT_MAX);
    bool ok = read_report(root, t, &out, err);
    if (ok && out.overflow)
        ok = err_set(err, "the report has more than fits");
    json_free(root);
    if (ok) {
        t->len = out.len;
        t->text = buf_steal(&out);
    }
    buf_deinit(&out);
    if (ok)
        return t;
    told_free(t);
    return NULL;
}

void told_free(struct told *t) {
    if (t == NULL)
        return;
    free(t->text);
    free(t);
}
