// SPDX-License-Identifier: Apache-2.0
//
// Judging all machines, and telling of them.
//
// An expected machine has reported when somebody of that name did, or, unidentified, a machine that calls itself so. A
// name that only the identified have ("cert:web-1") cannot be claimed like that.

#include "gateway/compliance/listing.h"

#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIME_TEXT_MAX = 32 };

/// One machine on its way to whoever asked.
struct machine {
    const char *name;
    const struct kept *kept; ///< NULL: it never reported.
    bool expected;
    enum compliance status;
    const char *why;
};

struct walk {
    const struct config *config;
    struct compliance_terms terms;
    bool *seen; ///< Of the expected, in their order.
    void (*visit)(void *ctx, const struct machine *m);
    void *ctx;
};

// --- all of them ---

static int text_against(const void *key, const void *element) {
    const char *const *text = element;
    return strcmp(key, *text);
}

static bool expects(struct walk *w, const char *name) {
    const struct text_list *l = &w->config->compliance.expected;
    char **found = l->count > 0 ? bsearch(name, l->texts, l->count, sizeof *l->texts, text_against) : NULL;
    if (found != NULL)
        w->seen[found - l->texts] = true;
    return found != NULL;
}

static bool is_of_identified(const char *name) {
    return strncmp(name, "cert:", 5) == 0 || strncmp(name, "user:", 5) == 0;
}

static bool is_expected(struct walk *w, const struct kept *k) {
    if (k->verified)
        return expects(w, k->name);
    return !is_of_identified(k->told->machine) && expects(w, k->told->machine);
}

static void visit_kept(struct walk *w, const struct kept *k) {
    struct machine m = {.name = k->name, .kept = k};
    m.expected = is_expected(w, k);
    m.status = compliance_judge(k->told, k->received, &w->terms, &m.why);
    w->visit(w->ctx, &m);
}

static void visit_missing(struct walk *w) {
    const struct text_list *l = &w->config->compliance.expected;
    for (size_t i = 0; i < l->count; i++) {
        struct machine m = {.name = l->texts[i], .expected = true};
        if (w->seen[i])
            continue;
        m.status = compliance_judge(NULL, 0, &w->terms, &m.why);
        w->visit(w->ctx, &m);
    }
}

static void walk(struct reports *r, const struct config *c, int64_t now,
                 void (*visit)(void *ctx, const struct machine *m), void *ctx) {
    size_t count = 0;
    struct walk w = {.config = c,
                     .terms = {now, c->compliance.outdated_after_s, c->site_hash},
                     .seen = mem_zalloc(c->compliance.expected.count + 1, sizeof(bool)),
                     .visit = visit,
                     .ctx = ctx};
    reports_forget(r, now - (int64_t)c->compliance.forget_after_s);
    struct kept **list = reports_all(r, &count);
    for (size_t i = 0; i < count; i++)
        visit_kept(&w, list[i]);
    visit_missing(&w);
    reports_release(r, list, count);
    free(w.seen);
}

// --- counting ---

static void count_one(void *ctx, const struct machine *m) {
    uint64_t *counts = ctx;
    counts[m->status]++;
}

void listing_count(struct reports *r, const struct config *c, int64_t now, uint64_t counts[COMPLIANCE_COUNT]) {
    memset(counts, 0, COMPLIANCE_COUNT * sizeof *counts);
    walk(r, c, now, count_one, counts);
}

// --- writing ---

struct writing {
    struct buf *out;
    const struct listing_filter *filter;
    uint64_t counts[COMPLIANCE_COUNT];
    size_t written;
};

static bool wanted(const struct listing_filter *f, const struct machine *m) {
    return (f->status == COMPLIANCE_COUNT || f->status == m->status) &&
           (f->name == NULL || strcmp(f->name, m->name) == 0 ||
            (m->kept != NULL && strcmp(f->name, m->kept->told->machine) == 0));
}

static void add_text(struct buf *out, const char *key, const char *text) {
    buf_addf(out, ",\"%s\":", key);
    buf_add_json(out, text, strlen(text));
}

static void add_time(struct buf *out, const char *key, int64_t at) {
    char text[TIME_TEXT_MAX];
    time_t t = (time_t)at;
    struct tm tm;
    if (gmtime_r(&t, &tm) != NULL && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
        add_text(out, key, text);
}

static void write_kept(struct buf *out, const struct kept *k, bool findings) {
    const struct told *t = k->told;
    add_text(out, "machine", t->machine);
    add_text(out, "address", k->address);
    add_time(out, "received", k->received);
    buf_addf(out, ",\"open\":%u,\"unknown\":%u,\"warnings\":%u", t->open, t->unknown, t->warnings);
    if (!findings)
        return;
    buf_adds(out, ",\"report\":");
    buf_add(out, t->text, t->len);
}

static void write_machine(void *ctx, const struct machine *m) {
    struct writing *w = ctx;
    struct buf *out = w->out;
    w->counts[m->status]++;
    if (!wanted(w->filter, m))
        return;
    buf_adds(out, w->written++ > 0 ? ",{\"name\":" : "{\"name\":");
    buf_add_json(out, m->name, strlen(m->name));
    buf_addf(out, ",\"verified\":%s,\"expected\":%s", m->kept != NULL && m->kept->verified ? "true" : "false",
             m->expected ? "true" : "false");
    add_text(out, "status", compliance_word(m->status));
    add_text(out, "why", m->why);
    if (m->kept != NULL)
        write_kept(out, m->kept, w->filter->findings);
    buf_adds(out, "}");
}

bool listing_write(struct reports *r, const struct config *c, const struct listing_filter *filter, int64_t now,
                   struct buf *out) {
    struct writing w = {.out = out, .filter = filter};
    buf_addf(out, "{\"format\":%d", LISTING_FORMAT);
    add_text(out, "site", c->site_hash);
    add_time(out, "time", now);
    buf_addf(out, ",\"outdated_after\":%u,\"machines\":[", c->compliance.outdated_after_s);
    walk(r, c, now, write_machine, &w);
    buf_adds(out, "],\"counts\":{");
    for (int i = 0; i < COMPLIANCE_COUNT; i++)
        buf_addf(out, "%s\"%s\":%llu", i > 0 ? "," : "", compliance_word((enum compliance)i),
                 (unsigned long long)w.counts[i]);
    buf_adds(out, "}}\n");
    return !out->overflow;
}

// --- the filter ---

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Percent-decoded into `out`; false: broken, too long, or with a NUL.
static bool decode(const char *s, size_t len, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int high = s[i] == '%' && i + 2 < len ? hex(s[i + 1]) : -1, low = high >= 0 ? hex(s[i + 2]) : -1;
        if (s[i] == '%' && (high < 0 || low < 0))
            return false;
        char c = s[i] == '%' ? (char)(high * 16 + low) : s[i] == '+' ? ' ' : s[i];
        i += s[i] == '%' ? 2 : 0;
        if (c == '\0' || n + 1 >= size)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

static bool read_status(const char *word, struct listing_filter *out, struct err *err) {
    for (int i = 0; i < COMPLIANCE_COUNT; i++) {
        if (strcmp(word, compliance_word((enum compliance)i)) != 0)
            continue;
        out->status = (enum compliance)i;
        return true;
    }
    return err_set(err, "status: expected compliant, non-compliant, outdated or unknown");
}

static bool read_pair(const char *key, size_t key_len, const char *value, size_t len, struct listing_filter *out,
                      char *name, struct err *err) {
    char text[LISTING_NAME_MAX + 1];
    if (!decode(value, len, text, sizeof text))
        return err_set(err, "a value of the query cannot be read");
    if (key_len == 6 && memcmp(key, "status", 6) == 0)
        return read_status(text, out, err);
    if (key_len == 8 && memcmp(key, "findings", 8) == 0) {
        out->findings = strcmp(text, "yes") == 0;
        return out->findings || strcmp(text, "no") == 0 || err_set(err, "findings: expected yes or no");
    }
    if (key_len != 4 || memcmp(key, "name", 4) != 0)
        return err_set(err, "the query has status=, name= and findings=");
    strcpy(name, text);
    out->name = name;
    return true;
}

bool listing_filter_parse(const char *query, size_t len, struct listing_filter *out, char *name, struct err *err) {
    *out = (struct listing_filter){.status = COMPLIANCE_COUNT};
    while (len > 0) {
        const char *end = memchr(query, '&', len);
        size_t pair = end != NULL ? (size_t)(end - query) : len;
        const char *equals = memchr(query, '=', pair);
        size_t key = equals != NULL ? (size_t)(equals - query) : pair;
        size_t value = equals != NULL ? key + 1 : pair;
        if (pair > 0 && !read_pair(query, key, query + value, pair - value, out, name, err))
            return false;
        query += pair + (end != NULL ? 1 : 0);
        len -= pair + (end != NULL ? 1 : 0);
    }
    return true;
}
