// SPDX-License-Identifier: Apache-2.0
//
// What is counted, and that Prometheus can read it: everything written goes through a strict reader of the text format.

#include "gateway/metrics/metrics.h"
#include "gateway/metrics/slots.h"
#include "gateway/metrics/text.h"
#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 128, SERIES_MAX = 60000 };

// --- a strict reader of the format ---

/// The family of which samples may come now.
struct family {
    char name[NAME_MAX_BYTES], type[16];
};

struct reading {
    struct family now;
    char **families; ///< Names that were there, each once.
    size_t family_count;
    char **series; ///< As written, without the value.
    size_t series_count;
};

static size_t name_len(const char *s, bool colon) {
    size_t len = 0;
    while (isalpha((unsigned char)s[len]) || s[len] == '_' || (colon && s[len] == ':') ||
           (len > 0 && isdigit((unsigned char)s[len])))
        len++;
    return len;
}

static void begin_family(struct reading *r, const char *line, const char *next) {
    const char *name = line + strlen("# HELP ");
    size_t len = name_len(name, true);
    cr_assert(len > 0 && len < NAME_MAX_BYTES && name[len] == ' ' && name[len + 1] != '\0', "%s", line);
    snprintf(r->now.name, sizeof(r->now.name), "%.*s", (int)len, name);
    for (size_t i = 0; i < r->family_count; i++)
        cr_assert_str_neq(r->families[i], r->now.name, "a family twice");
    r->families = mem_resize(r->families, r->family_count + 1, sizeof(char *));
    r->families[r->family_count++] = mem_strdup(r->now.name);
    char expected[2 * NAME_MAX_BYTES];
    snprintf(expected, sizeof(expected), "# TYPE %s ", r->now.name);
    cr_assert(next != NULL && strncmp(next, expected, strlen(expected)) == 0, "no TYPE after %s", line);
    snprintf(r->now.type, sizeof(r->now.type), "%s", next + strlen(expected));
    cr_assert(strcmp(r->now.type, "counter") == 0 || strcmp(r->now.type, "gauge") == 0 ||
                  strcmp(r->now.type, "histogram") == 0,
              "%s", next);
    bool total = strlen(r->now.name) > 6 && strcmp(r->now.name + strlen(r->now.name) - 6, "_total") == 0;
    cr_assert_eq(total, strcmp(r->now.type, "counter") == 0, "%s: counters, and they alone, end with _total",
                 r->now.name);
}

static bool belongs(const struct family *f, const char *name, size_t len) {
    size_t base = strlen(f->name);
    if (len < base || strncmp(name, f->name, base) != 0)
        return false;
    if (strcmp(f->type, "histogram") != 0)
        return len == base;
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < 3; i++)
        if (len - base == strlen(suffixes[i]) && strncmp(name + base, suffixes[i], len - base) == 0)
            return true;
    return false;
}

/// Over a quoted value: only \\, \" and \n are escapes, and all is UTF-8.
static const char *skip_value(const char *s, const char *line) {
    cr_assert_eq(*s, '"', "%s", line);
    for (s++; *s != '"';) {
        cr_assert(*s != '\0', "no end: %s", line);
        if (*s == '\\') {
            cr_assert(s[1] == '\\' || s[1] == '"' || s[1] == 'n', "%s", line);
            s += 2;
            continue;
        }
        size_t len = buf_utf8_len((const unsigned char *)s, strlen(s));
        cr_assert(len > 0, "not UTF-8: %s", line);
        s += len;
    }
    return s + 1;
}

static const char *skip_labels(const char *s, const char *line) {
    if (*s != '{')
        return s;
    do {
        s++;
        size_t len = name_len(s, false);
        cr_assert(len > 0 && s[len] == '=', "%s", line);
        s = skip_value(s + len + 1, line);
    } while (*s == ',');
    cr_assert_eq(*s, '}', "%s", line);
    return s + 1;
}

static void read_sample(struct reading *r, const char *line) {
    char *end = NULL;
    size_t len = name_len(line, true);
    cr_assert(belongs(&r->now, line, len), "not of family %s: %s", r->now.name, line);
    const char *s = skip_labels(line + len, line);
    cr_assert(*s == ' ' && isdigit((unsigned char)s[1]), "%s", line);
    strtod(s + 1, &end);
    cr_assert_eq(*end, '\0', "%s", line);
    cr_assert(r->series_count < SERIES_MAX);
    r->series[r->series_count++] = mem_strndup(line, (size_t)(s - line));
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_end(struct reading *r) {
    qsort(r->series, r->series_count, sizeof(char *), compare);
    for (size_t i = 1; i < r->series_count; i++)
        cr_assert_str_neq(r->series[i - 1], r->series[i], "a series twice");
    for (size_t i = 0; i < r->series_count; i++)
        free(r->series[i]);
    for (size_t i = 0; i < r->family_count; i++)
        free(r->families[i]);
    free(r->families);
    free(r->series);
}

/// Fails the test where `text` is not the format. Returns the number of series.
static size_t read_strictly(const char *text) {
    struct reading r = {.series = mem_alloc(SERIES_MAX * sizeof(char *))};
    size_t len = strlen(text);
    cr_assert(len > 0 && text[len - 1] == '\n', "the last line ends too");
    char *copy = mem_strdup(text), *rest = copy;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            char *next = strsep(&rest, "\n");
            begin_family(&r, line, next);
        } else {
            read_sample(&r, line);
        }
    }
    size_t count = r.series_count;
    read_end(&r);
    free(copy);
    return count;
}

// --- helpers ---

static char *written(struct metrics *m, const struct metrics_figures *f) {
    struct buf b;
    buf_init(&b, METRICS_TEXT_MAX);
    cr_assert(metrics_write(m, f, &b), "it fits");
    read_strictly(b.data);
    return buf_steal(&b);
}

static char *written_plain(struct metrics *m) {
    struct metrics_figures f = {.version = "1.2.3"};
    return written(m, &f);
}

static bool has_line(const char *text, const char *line) {
    size_t len = strlen(line);
    for (const char *s = text; (s = strstr(s, line)) != NULL; s += len)
        if ((s == text || s[-1] == '\n') && s[len] == '\n')
            return true;
    return false;
}

static void assert_line(const char *text, const char *line, const char *why) {
    cr_assert(has_line(text, line), "%s: no line %s", why, line);
}

static void count_one(struct metrics *m, struct metrics_request r) {
    if (r.rule == NULL)
        r.rule = "";
    metrics_request(m, &r);
}

// --- the writer ---

Test(metrics_text, escapes) {
    static const struct {
        const char *value, *line, *why;
    } rows[] = {
        {"docker.io", "n{l=\"docker.io\"} 1\n", "plain"},
        {"", "n{l=\"\"} 1\n", "empty is a value too"},
        {"a\"b", "n{l=\"a\\\"b\"} 1\n", "a quote"},
        {"a\\b", "n{l=\"a\\\\b\"} 1\n", "a backslash"},
        {"a\nb", "n{l=\"a\\nb\"} 1\n", "a line's end"},
        {"\\n\"", "n{l=\"\\\\n\\\"\"} 1\n", "what looks like an escape is none"},
        {"}\" 1\nevil 2", "n{l=\"}\\\" 1\\nevil 2\"} 1\n", "no way out of the quotes"},
        {"\xc3\xbc", "n{l=\"\xc3\xbc\"} 1\n", "UTF-8 stays"},
        {"a\xff", "n{l=\"a\xef\xbf\xbd\"} 1\n", "what is none is replaced"},
        {"a\xc3", "n{l=\"a\xef\xbf\xbd\"} 1\n", "a cut character too"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b;
        buf_init(&b, 4096);
        struct text_label labels[] = {{"l", rows[i].value}, {0}};
        text_family(&b, "n", "gauge", "Help.");
        size_t head = b.len;
        text_sample(&b, "n", labels, 1, TEXT_WHOLE);
        cr_assert_str_eq(b.data + head, rows[i].line, "%s: %s", rows[i].why, b.data + head);
        read_strictly(b.data);
        buf_deinit(&b);
    }
}

Test(metrics_text, values) {
    static const struct {
        uint64_t value;
        enum text_unit unit;
        const char *line, *why;
    } rows[] = {
        {0, TEXT_WHOLE, "n 0\n", "zero"},
        {UINT64_MAX, TEXT_WHOLE, "n 18446744073709551615\n", "the greatest"},
        {5, TEXT_MILLI, "n 0.005\n", "milliseconds"},
        {61005, TEXT_MILLI, "n 61.005\n", "zeros within"},
        {1000001, TEXT_MICRO, "n 1.000001\n", "microseconds"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b;
        buf_init(&b, 4096);
        text_sample(&b, "n", NULL, rows[i].value, rows[i].unit);
        cr_assert_str_eq(b.data, rows[i].line, "%s", rows[i].why);
        buf_deinit(&b);
    }
}

// --- names within bounds ---

Test(metrics_slots, bounded) {
    char name[SLOTS_NAME_MAX + 2];
    struct slots *t = slots_new(1);
    struct slot *other = slots_find(t, "other");
    for (int i = 0; i < 3 * SLOTS_MAX; i++) {
        snprintf(name, sizeof(name), "r%d.test", i);
        slot_add(slots_find(t, name), 0, 1);
        cr_assert_eq(slots_find(t, name) == other, i >= SLOTS_MAX, "%s", name);
    }
    cr_assert_eq(slots_count(t), SLOTS_MAX + 1);
    cr_assert_eq(slot_read(other, 0), 2 * SLOTS_MAX, "nothing is lost");
    cr_assert_str_eq(slots_find(t, "r0.test")->name, "r0.test", "the first stay");
    slots_free(t);
}

Test(metrics_slots, names_that_are_other) {
    static const struct {
        const char *name, *why;
    } rows[] = {
        {"other", "there is one of that name, not two"},
        {"a\xff", "not UTF-8: another one could be written alike"},
        {"cut\xc3", "a cut character"},
    };
    struct slots *t = slots_new(1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_assert_eq(slots_find(t, rows[i].name), slots_at(t, 0), "%s", rows[i].why);
    char name[SLOTS_NAME_MAX + 2] = {0};
    memset(name, 'a', sizeof(name) - 1);
    cr_assert_eq(slots_find(t, name), slots_at(t, 0), "too long");
    name[SLOTS_NAME_MAX] = '\0';
    cr_assert_neq(slots_find(t, name), slots_at(t, 0), "just not too long");
    cr_assert_neq(slots_find(t, ""), slots_at(t, 0), "no name is a name");
    slots_free(t);
}

// --- what is counted ---

Test(metrics, nothing_yet) {
    struct metrics *m = metrics_new();
    char *text = written_plain(m);
    assert_line(text, "pullgate_request_duration_seconds_count{kind=\"blob\"} 0", "histograms are always there");
    assert_line(text, "pullgate_build_info{version=\"1.2.3\"} 1", "the version");
    cr_assert_null(strstr(text, "pullgate_store_"), "without a store nothing is said of it");
    cr_assert_null(strstr(text, "pullgate_requests_total{"), "nothing was asked");
    free(text);
    metrics_free(m);
}

Test(metrics, requests) {
    struct metrics *m = metrics_new();
    count_one(m, (struct metrics_request){.registry = "docker.io", .kind = METRICS_MANIFEST, .bytes = 10, .ms = 3});
    count_one(m, (struct metrics_request){.registry = "docker.io", .kind = METRICS_MANIFEST, .bytes = 5, .ms = 400});
    count_one(m,
              (struct metrics_request){
                  .registry = "docker.io", .kind = METRICS_BLOB, .result = METRICS_FOLLOW, .bytes = 7, .ms = 999999});
    count_one(m, (struct metrics_request){.kind = METRICS_OTHER, .result = METRICS_ERROR});
    count_one(
        m, (struct metrics_request){.registry = "*", .kind = METRICS_TAGS, .result = METRICS_MISS, .would_deny = true});
    count_one(m, (struct metrics_request){.registry = "ghcr.io",
                                          .kind = METRICS_MANIFEST,
                                          .result = METRICS_DENIED,
                                          .reason = REASON_RULE,
                                          .rule = "no \"latest\"\\",
                                          .bytes = 150});
    count_one(m, (struct metrics_request){
                     .kind = METRICS_MANIFEST, .result = METRICS_DENIED, .reason = REASON_REGISTRY_NOT_LISTED});
    static const struct {
        const char *line, *why;
    } rows[] = {
        {"pullgate_requests_total{registry=\"docker.io\",kind=\"manifest\",result=\"hit\"} 2", "a sum"},
        {"pullgate_response_bytes_total{registry=\"docker.io\",kind=\"manifest\",result=\"hit\"} 15", "its bytes"},
        {"pullgate_requests_total{registry=\"docker.io\",kind=\"blob\",result=\"follow\"} 1", "another kind"},
        {"pullgate_requests_total{registry=\"other\",kind=\"other\",result=\"error\"} 1", "no registry"},
        {"pullgate_response_bytes_total{registry=\"other\",kind=\"other\",result=\"error\"} 0", "no bytes are shown"},
        {"pullgate_requests_total{registry=\"*\",kind=\"tags\",result=\"miss\"} 1", "a wildcard"},
        {"pullgate_request_duration_seconds_bucket{kind=\"manifest\",le=\"0.005\"} 3", "the first bucket"},
        {"pullgate_request_duration_seconds_bucket{kind=\"manifest\",le=\"0.1\"} 3", "cumulative"},
        {"pullgate_request_duration_seconds_bucket{kind=\"manifest\",le=\"0.5\"} 4", "and the slow one"},
        {"pullgate_request_duration_seconds_bucket{kind=\"manifest\",le=\"+Inf\"} 4", "all"},
        {"pullgate_request_duration_seconds_sum{kind=\"manifest\"} 0.403", "in seconds"},
        {"pullgate_request_duration_seconds_count{kind=\"manifest\"} 4", "all"},
        {"pullgate_request_duration_seconds_bucket{kind=\"blob\",le=\"300\"} 0", "beyond the last end"},
        {"pullgate_request_duration_seconds_bucket{kind=\"blob\",le=\"+Inf\"} 1", "is still counted"},
        {"pullgate_denials_total{rule=\"no \\\"latest\\\"\\\\\",reason=\"rule\"} 1", "a rule, escaped"},
        {"pullgate_denials_total{rule=\"\",reason=\"registry_not_listed\"} 1", "no rule"},
        {"pullgate_would_denials_total 1", "monitored"},
    };
    char *text = written_plain(m);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_line(text, rows[i].line, rows[i].why);
    free(text);
    metrics_free(m);
}

Test(metrics, as_much_as_there_can_be) {
    struct metrics *m = metrics_new();
    char name[SLOTS_NAME_MAX + 1];
    for (int i = 0; i < SLOTS_MAX + 100; i++) {
        memset(name, '"', sizeof(name) - 1); // Each takes two bytes.
        name[sizeof(name) - 1] = '\0';
        int len = snprintf(name, sizeof(name), "%d", i);
        name[len] = '"';
        for (int kind = 0; kind < METRICS_KINDS; kind++)
            for (int result = 0; result < METRICS_RESULTS; result++)
                count_one(m, (struct metrics_request){.registry = name,
                                                      .rule = name,
                                                      .kind = (enum metrics_kind)kind,
                                                      .result = (enum metrics_result)result,
                                                      .bytes = 1ULL << 60,
                                                      .reason = REASON_RULE});
        for (int reason = 0; reason <= REASON_LOOP; reason++)
            count_one(m, (struct metrics_request){
                             .rule = name, .result = METRICS_DENIED, .reason = (enum denial_reason)reason});
    }
    char *text = written_plain(m);
    assert_line(text, "pullgate_requests_total{registry=\"other\",kind=\"blob\",result=\"hit\"} 100",
                "what was too much");
    free(text);
    metrics_free(m);
}

Test(metrics, figures_of_others) {
    static const struct metrics_upstream upstreams[] = {
        {.registry = "docker.io", .requests = 4, .errors = 1, .limited = 3, .us = 1500001, .ratelimit_remaining = 76},
        {.registry = "ghcr.io", .requests = 2, .ratelimit_remaining = -1},
    };
    struct metrics_figures f = {
        .upstreams = upstreams,
        .upstream_count = 2,
        .content =
            {.fills = 1, .readers = 2, .stale = 3, .mismatches = 4, .resumes = 5, .manifests = 6, .manifest_bytes = 7},
        .stored = true,
        .store = {.bytes = 8,
                  .max_size = 9,
                  .pieces = 10,
                  .tags = 11,
                  .repositories = 12,
                  .evicted = 13,
                  .evicted_bytes = 14,
                  .write_errors = 15,
                  .notes_dropped = 16,
                  .refused = 21,
                  .file_system_free = 17,
                  .writable = true},
        .connections = 18,
        .connections_max = 19,
        .log_dropped = 20,
        .version = "1",
    };
    static const char *const lines[] = {
        "pullgate_upstream_requests_total{registry=\"docker.io\"} 4",
        "pullgate_upstream_errors_total{registry=\"docker.io\"} 1",
        "pullgate_upstream_seconds_total{registry=\"docker.io\"} 1.500001",
        "pullgate_upstream_limited_total{registry=\"docker.io\"} 3",
        "pullgate_upstream_ratelimit_remaining{registry=\"docker.io\"} 76",
        "pullgate_upstream_requests_total{registry=\"ghcr.io\"} 2",
        "pullgate_fills 1",
        "pullgate_blob_readers 2",
        "pullgate_stale_total 3",
        "pullgate_digest_mismatches_total 4",
        "pullgate_upstream_resumes_total 5",
        "pullgate_memory_manifests 6",
        "pullgate_memory_manifest_bytes 7",
        "pullgate_store_bytes 8",
        "pullgate_store_max_bytes 9",
        "pullgate_store_pieces 10",
        "pullgate_store_tags 11",
        "pullgate_store_repositories 12",
        "pullgate_store_evictions_total 13",
        "pullgate_store_evicted_bytes_total 14",
        "pullgate_store_write_errors_total 15",
        "pullgate_store_notes_dropped_total 16",
        "pullgate_store_refused_total 21",
        "pullgate_store_free_bytes 17",
        "pullgate_store_writable 1",
        "pullgate_connections 18",
        "pullgate_connections_max 19",
        "pullgate_log_dropped_total 20",
    };
    struct metrics *m = metrics_new();
    char *text = written(m, &f);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_line(text, lines[i], "each figure in its place");
    cr_assert_null(strstr(text, "ratelimit_remaining{registry=\"ghcr.io\""), "what was never said is not shown");
    free(text);
    metrics_free(m);
}

Test(metrics, process) {
    struct metrics *m = metrics_new();
    char *text = written_plain(m);
    static const struct {
        const char *name;
        double least, most;
    } rows[] = {
        {"\nprocess_resident_memory_bytes ", 100000, 1e12},
        {"\nprocess_cpu_seconds_total ", 0, 1e6},
        {"\nprocess_open_fds ", 3, 1e6},
        {"\nprocess_max_fds ", 3, 1e10},
        {"\nprocess_start_time_seconds ", 1.6e9, 1e11},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *at = strstr(text, rows[i].name);
        cr_assert_not_null(at, "%s", rows[i].name);
        double value = strtod(at + strlen(rows[i].name), NULL);
        cr_assert(value >= rows[i].least && value <= rows[i].most, "%s%f", rows[i].name, value);
    }
    free(text);
    metrics_free(m);
}

Test(metrics, a_process_that_just_began) {
    char *text = NULL, line[64];
    struct metrics *m = metrics_new();
    text = written_plain(m);
    const char *at = strstr(text, "\nprocess_start_time_seconds ");
    snprintf(line, sizeof(line), "%.20s", at + strlen("\nprocess_start_time_seconds "));
    double ago = (double)time(NULL) - strtod(line, NULL);
    cr_assert(ago > -5 && ago < 300, "it began %f s ago", ago);
    free(text);
    metrics_free(m);
}

// --- loops ---

Test(metrics, lag) {
    static const struct {
        int64_t runs[4]; ///< When ticks run, after the loop began.
        const char *last, *most, *why;
    } rows[] = {
        {{1000, 2000, 3000}, "0.000", "0.000", "on time"},
        {{999, 1999, 3000}, "0.000", "0.000", "the clock is cut to milliseconds"},
        {{1010, 2000, 3003}, "0.003", "0.010", "late, then less so"},
        {{1000, 4500, 5000}, "0.000", "2.500", "ticks were missed; the next is due at its own time"},
        {{1000, 4000, 5000}, "0.000", "2.000", "exactly at a later one's time"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char line[80];
        struct metrics *m = metrics_new();
        int64_t began = clock_ms() + 1000000; // No tick is due while this runs.
        struct metrics_loop *l = metrics_loop_new(m, began, 1000);
        for (int k = 0; k < 4 && rows[i].runs[k] != 0; k++)
            metrics_loop_tick(l, began + rows[i].runs[k]);
        char *text = written_plain(m), *again = written_plain(m);
        snprintf(line, sizeof(line), "pullgate_loop_lag_seconds{loop=\"0\"} %s", rows[i].last);
        assert_line(text, line, rows[i].why);
        snprintf(line, sizeof(line), "pullgate_loop_lag_max_seconds{loop=\"0\"} %s", rows[i].most);
        assert_line(text, line, rows[i].why);
        snprintf(line, sizeof(line), "pullgate_loop_lag_max_seconds{loop=\"0\"} %s", rows[i].last);
        assert_line(again, line, "the greatest is told once");
        free(text);
        free(again);
        metrics_free(m);
    }
}

Test(metrics, a_loop_that_stands_still) {
    struct metrics *m = metrics_new();
    struct metrics_loop *l = metrics_loop_new(m, clock_ms() - 61000, 1000);
    char *text = written_plain(m);
    const char *at = strstr(text, "pullgate_loop_lag_seconds{loop=\"0\"} ");
    cr_assert(strtod(strchr(at, ' '), NULL) >= 60, "its tick is a minute late, though it never ran");
    free(text);
    metrics_loop_end(l);
    text = written_plain(m);
    assert_line(text, "pullgate_loop_lag_seconds{loop=\"0\"} 0.000", "it has ended: nothing is late");
    free(text);
    metrics_free(m);
}

Test(metrics, loops_are_bounded) {
    struct metrics *m = metrics_new();
    for (int i = 0; i < METRICS_LOOPS_MAX; i++)
        cr_assert_not_null(metrics_loop_new(m, 0, 1000));
    cr_assert_null(metrics_loop_new(m, 0, 1000));
    metrics_loop_tick(NULL, 5);
    metrics_free(m);
}

// --- the configuration ---

Test(metrics, configuration) {
    struct metrics *m = metrics_new();
    struct metrics_configuration c = {.hash = "0123456789ab",
                                      .enforced = true,
                                      .certificate_count = 1,
                                      .certificates = {{"[::]:443", 2000000000}},
                                      .revocation_count = 1,
                                      .revocations = {{"[::]:443", 1900000000}}};
    metrics_configured(m, &c, 1700000000);
    metrics_reload_failed(m);
    char *text = written_plain(m);
    assert_line(text, "pullgate_config_info{hash=\"0123456789ab\"} 1", "what is served");
    assert_line(text, "pullgate_config_enforced 1", "enforced");
    assert_line(text, "pullgate_config_last_reload_successful 0", "the last one failed");
    assert_line(text, "pullgate_config_last_reload_success_timestamp_seconds 1700000000", "an earlier one did not");
    assert_line(text, "pullgate_certificate_expires_timestamp_seconds{listener=\"[::]:443\"} 2000000000", "its end");
    assert_line(text, "pullgate_client_crl_expires_timestamp_seconds{listener=\"[::]:443\"} 1900000000", "the list's");
    free(text);
    metrics_configured(m, &(struct metrics_configuration){.hash = "ffffffffffff"}, 1700000001);
    text = written_plain(m);
    assert_line(text, "pullgate_config_info{hash=\"ffffffffffff\"} 1", "the new one");
    cr_assert_null(strstr(text, "0123456789ab"), "the old one is gone");
    assert_line(text, "pullgate_config_enforced 0", "monitor");
    assert_line(text, "pullgate_config_last_reload_successful 1", "it went well again");
    cr_assert_null(strstr(text, "_expires_timestamp_seconds{"), "no certificate");
    free(text);
    metrics_free(m);
}

// --- many at once ---

enum { COUNTERS = 4, ROUNDS = 20000, NAMES = 300 };

static void *count_many(void *arg) {
    struct metrics *m = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "r%d.test", i % NAMES);
        count_one(m, (struct metrics_request){.registry = name, .kind = METRICS_BLOB, .bytes = 3, .ms = 1});
    }
    return NULL;
}

/// The sum of a family's samples.
static double sum_of(const char *text, const char *start) {
    double sum = 0;
    for (const char *s = text; (s = strstr(s, start)) != NULL; s++)
        sum += strtod(strstr(s, "} ") + 2, NULL);
    return sum;
}

Test(metrics, counted_by_many_threads) {
    struct metrics *m = metrics_new();
    pthread_t threads[COUNTERS];
    for (int i = 0; i < COUNTERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count_many, m), 0);
    for (int i = 0; i < 5; i++)
        free(written_plain(m)); // Reading beside it is always well-formed.
    for (int i = 0; i < COUNTERS; i++)
        pthread_join(threads[i], NULL);
    char *text = written_plain(m);
    cr_assert_eq(sum_of(text, "\npullgate_requests_total{"), COUNTERS * ROUNDS, "none is lost");
    cr_assert_eq(sum_of(text, "\npullgate_response_bytes_total{"), 3 * COUNTERS * ROUNDS, "no byte either");
    cr_assert_eq(sum_of(text, "\npullgate_request_duration_seconds_count{kind=\"blob\""), COUNTERS * ROUNDS,
                 "nor here");
    free(text);
    metrics_free(m);
}
