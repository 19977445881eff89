// SPDX-License-Identifier: Apache-2.0
//
// What a line of the log looks like: its fields and their order, that strangers cannot forge a line or steer a
// terminal, and that docs/log.md names every field and every reason.

#include "gateway/audit/audit.h"
#include "gateway/denial/denial.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1767323045678) // 2026-01-02T03:04:05.678Z

static struct audit_record record(void) {
    return (struct audit_record){.event = "request", .bytes = -1, .ms = -1, .verified = -1};
}

// --- JSON ---

struct format_row {
    const char *why;
    struct audit_record r;
    const char *expect;
};

static const struct format_row json_rows[] = {
    {"an event with nothing else: numbers at -1 and 0 are left out",
     {.event = "start", .bytes = -1, .ms = -1, .verified = -1},
     "{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"start\",\"gateway\":\"gw1\"}\n"},
    {"empty strings are left out like missing ones",
     {.event = "start", .id = "", .rule = "", .bytes = -1, .ms = -1, .verified = -1},
     "{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"start\",\"gateway\":\"gw1\"}\n"},
    {"zero bytes in zero milliseconds are said, and verified: false too",
     {.event = "request", .status = 200, .bytes = 0, .ms = 0, .verified = 0},
     "{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"request\",\"gateway\":\"gw1\",\"status\":200,"
     "\"bytes\":0,\"ms\":0,\"verified\":false}\n"},
    {"every field, in the documented order",
     {.event = "request",
      .id = "01J",
      .config = "0123456789ab",
      .listener = "main",
      .route = "ns",
      .client = "192.0.2.7",
      .who = "cn:node1",
      .how = "certificate",
      .user_agent = "docker/29.0",
      .method = "GET",
      .registry = "docker.io",
      .repository = "library/alpine",
      .reference = "3.20",
      .digest = "sha256:aa",
      .media_type = "application/vnd.oci.image.index.v1+json",
      .action = "pull",
      .decision = "allow",
      .would = "deny",
      .would_rule = "rules[2]",
      .rule = "rules[0]",
      .reason = "rule",
      .upstream = "registry-1.docker.io",
      .hops = {"a.example", "b.example:8443"},
      .hop_count = 2,
      .status = 200,
      .bytes = 9218,
      .ms = 120,
      .verified = 1,
      .source = "hit",
      .dropped = 3,
      .message = "fine"},
     "{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"request\",\"id\":\"01J\",\"gateway\":\"gw1\","
     "\"config\":\"0123456789ab\",\"listener\":\"main\",\"route\":\"ns\",\"client\":\"192.0.2.7\",\"who\":\"cn:node1\","
     "\"how\":\"certificate\",\"user_agent\":\"docker/29.0\",\"method\":\"GET\",\"registry\":\"docker.io\","
     "\"repository\":\"library/alpine\",\"reference\":\"3.20\",\"digest\":\"sha256:aa\","
     "\"media_type\":\"application/vnd.oci.image.index.v1+json\",\"action\":\"pull\",\"decision\":\"allow\","
     "\"would\":\"deny\",\"would_rule\":\"rules[2]\",\"rule\":\"rules[0]\",\"reason\":\"rule\","
     "\"upstream\":\"registry-1.docker.io\",\"hops\":[\"a.example\",\"b.example:8443\"],\"status\":200,\"bytes\":9218,"
     "\"ms\":120,\"verified\":true,\"dropped\":3,\"source\":\"hit\",\"message\":\"fine\"}\n"},
    {"a line break and quotes cannot forge a line or a field",
     {.event = "request", .user_agent = "x\"}\n{\"v\":1,\"decision\":\"allow\"", .bytes = -1, .ms = -1, .verified = -1},
     "{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"request\",\"gateway\":\"gw1\","
     "\"user_agent\":\"x\\\"}\\n{\\\"v\\\":1,\\\"decision\\\":\\\"allow\\\"\"}\n"},
    {"an escape sequence is escaped, a byte that is no UTF-8 replaced",
     {.event = "request", .user_agent = "\033[2J\xff", .bytes = -1, .ms = -1, .verified = -1},
     "{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"request\",\"gateway\":\"gw1\","
     "\"user_agent\":\"\\u001b[2J\xef\xbf\xbd\"}\n"},
    {"a hop count beyond the array is a caller's mistake, not a crash",
     {.event = "request", .hops = {"h"}, .hop_count = 99, .bytes = -1, .ms = -1, .verified = -1},
     "{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"request\",\"gateway\":\"gw1\","
     "\"hops\":[\"h\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]}\n"},
};

Test(audit_format, json_lines) {
    for (size_t i = 0; i < sizeof json_rows / sizeof *json_rows; i++) {
        char *line = audit_format(&json_rows[i].r, "gw1", NOW, false);
        cr_expect_str_eq(line, json_rows[i].expect, "%s:\n got %s want %s", json_rows[i].why, line,
                         json_rows[i].expect);
        free(line);
    }
}

Test(audit_format, times_at_the_edges) {
    static const struct {
        const char *why;
        int64_t now;
        const char *expect;
    } rows[] = {
        {"the epoch", 0, "\"1970-01-01T00:00:00.000Z\""},
        {"a clock before the epoch rounds down", -1, "\"1969-12-31T23:59:59.999Z\""},
        {"a clock beyond the calendar still gives a line", INT64_MAX, "\"0000-00-00T00:00:00.807Z\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct audit_record r = record();
        char *line = audit_format(&r, "gw1", rows[i].now, false);
        cr_expect(strstr(line, rows[i].expect), "%s: %s", rows[i].why, line);
        free(line);
        free(audit_format(&r, "gw1", rows[i].now, true));
    }
}

// The length of user_agent in the JSON line for this input.
static size_t kept(const char *user_agent) {
    struct audit_record r = record();
    r.user_agent = user_agent;
    char *line = audit_format(&r, "gw1", NOW, false);
    char *from = strstr(line, "\"user_agent\":\"");
    cr_assert(from, "%s", line);
    from += strlen("\"user_agent\":\"");
    size_t len = (size_t)(strchr(from, '"') - from);
    cr_expect(!strstr(line, "\xef\xbf\xbd"), "nothing was cut inside a character: %s", line);
    free(line);
    return len;
}

Test(audit_format, long_strings_are_cut) {
    char text[AUDIT_FIELD_MAX + 100] = {0};
    memset(text, 'a', AUDIT_FIELD_MAX);
    cr_expect_eq(kept(text), AUDIT_FIELD_MAX, "what just fits is kept");
    memset(text, 'a', sizeof text - 1);
    cr_expect_eq(kept(text), AUDIT_FIELD_MAX, "the rest is cut");
    for (size_t at = 0; at < 4; at++) {
        memset(text, 'a', sizeof text - 1);
        memcpy(text + AUDIT_FIELD_MAX - at, "\xf0\x9f\x90\xb3", 4); // A whale over the edge.
        cr_expect_eq(kept(text), AUDIT_FIELD_MAX - at, "never inside a character (%zu bytes before the edge)", at);
    }
}

Test(audit_format, the_worst_line_is_still_json) {
    char nasty[AUDIT_FIELD_MAX + 2];
    memset(nasty, '\001', sizeof nasty - 1); // Six bytes each once escaped.
    nasty[sizeof nasty - 1] = '\0';
    struct audit_record r = {.event = nasty,
                             .id = nasty,
                             .config = nasty,
                             .listener = nasty,
                             .route = nasty,
                             .client = nasty,
                             .who = nasty,
                             .how = nasty,
                             .user_agent = nasty,
                             .method = nasty,
                             .registry = nasty,
                             .repository = nasty,
                             .reference = nasty,
                             .digest = nasty,
                             .media_type = nasty,
                             .action = nasty,
                             .decision = nasty,
                             .would = nasty,
                             .would_rule = nasty,
                             .rule = nasty,
                             .reason = nasty,
                             .upstream = nasty,
                             .hop_count = AUDIT_HOPS_MAX,
                             .message = nasty};
    for (int i = 0; i < AUDIT_HOPS_MAX; i++)
        r.hops[i] = nasty;
    char *line = audit_format(&r, nasty, NOW, false);
    size_t len = strlen(line);
    cr_assert_gt(len, 100000u);
    struct err err = {0};
    struct json *parsed = json_parse(line, len, JSON_STRICT, &err);
    cr_expect(parsed, "%s", err.text);
    json_free(parsed);
    cr_expect_eq(line[len - 1], '\n');
    cr_expect_eq(line[len - 2], '}');
    cr_expect_eq(strchr(line, '\n') - line, (ptrdiff_t)len - 1, "one line");
    free(line);
    line = audit_format(&r, nasty, NOW, true);
    cr_expect_eq(strchr(line, '\n') - line, (ptrdiff_t)strlen(line) - 1, "one line on a terminal too");
    free(line);
}

// --- terminal ---

static const struct format_row terminal_rows[] = {
    {"an allowed pull",
     {.event = "request",
      .method = "GET",
      .registry = "docker.io",
      .repository = "library/alpine",
      .reference = "3.20",
      .decision = "allow",
      .status = 200,
      .bytes = 9218,
      .ms = 120,
      .verified = 1},
     "03:04:05Z \033[32mallow\033[0m GET  docker.io/library/alpine:3.20                  200    9.0 KiB    120 ms\n"},
    {"a denial says why, by which rule, and its id",
     {.event = "request",
      .method = "HEAD",
      .registry = "docker.io",
      .repository = "evil/miner",
      .reference = "latest",
      .decision = "deny",
      .rule = "CHG-1",
      .reason = "rule",
      .id = "01J",
      .status = 403,
      .bytes = 120,
      .ms = 1,
      .verified = -1,
      .message = "not here"},
     "03:04:05Z \033[31mdeny\033[0m  HEAD docker.io/evil/miner:latest                    403      120 B      1 ms"
     "  not here; rule CHG-1; id 01J\n"},
    {"without a sentence the reason stands in",
     {.event = "request",
      .method = "GET",
      .registry = "docker.io",
      .repository = "a/b",
      .reference = "sha256:ab",
      .decision = "deny",
      .reason = "urls",
      .status = 403,
      .bytes = -1,
      .ms = -1,
      .verified = -1},
     "03:04:05Z \033[31mdeny\033[0m  GET  docker.io/a/b@sha256:ab                        403          -         -"
     "  urls\n"},
    {"monitor mode",
     {.event = "request",
      .method = "GET",
      .registry = "docker.io",
      .repository = "a/b",
      .reference = "1",
      .decision = "allow",
      .would = "deny",
      .would_rule = "rules[1]",
      .status = 200,
      .bytes = 5 << 20,
      .ms = 12345,
      .verified = 0},
     "03:04:05Z \033[33mwould\033[0m GET  docker.io/a/b:1                                200    5.0 MiB    12.3 s"
     "  would be denied by rules[1]; not verified\n"},
    {"an event is its name and its sentence",
     {.event = "reload", .config = "0123456789ab", .bytes = -1, .ms = -1, .verified = -1, .message = "a -> b"},
     "03:04:05Z reload  a -> b\n"},
    {"a request without an image",
     {.event = "request", .method = "GET", .decision = "allow", .status = 200, .bytes = 2, .ms = 0, .verified = -1},
     "03:04:05Z \033[32mallow\033[0m GET  -                                              200        2 B      0 ms\n"},
};

Test(audit_format, terminal_lines) {
    for (size_t i = 0; i < sizeof terminal_rows / sizeof *terminal_rows; i++) {
        char *line = audit_format(&terminal_rows[i].r, "gw1", NOW, true);
        cr_expect_str_eq(line, terminal_rows[i].expect, "%s:\n got %s want %s", terminal_rows[i].why, line,
                         terminal_rows[i].expect);
        free(line);
    }
}

Test(audit_format, a_stranger_cannot_steer_the_terminal) {
    static const struct {
        const char *why, *text;
    } rows[] = {
        {"an escape sequence that clears the screen", "\033[2J"},
        {"a line break", "a\nb"},
        {"a carriage return that overwrites the line", "a\rb"},
        {"a bell and a backspace", "\a\b"},
        {"DEL", "\x7f"},
        {"an 8-bit CSI, bare", "\x9b"
                               "2J"},
        {"an 8-bit CSI as UTF-8 (U+009B)", "\xc2\x9b"
                                           "2J"},
        {"a right-to-left override (U+202E)", "\xe2\x80\xae"},
        {"an isolate (U+2066)", "\xe2\x81\xa6"},
        {"a zero-width space (U+200B)", "\xe2\x80\x8b"},
        {"a line separator (U+2028)", "\xe2\x80\xa8"},
        {"a byte order mark (U+FEFF)", "\xef\xbb\xbf"},
        {"a tag character (U+E0041)", "\xf3\xa0\x81\x81"},
        {"a cut character", "\xe2\x80"},
        {"an overlong ESC", "\xc0\x9b"},
        {"a surrogate", "\xed\xa0\x80"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *text = rows[i].text;
        struct audit_record r = {.event = "request",
                                 .id = text,
                                 .method = text,
                                 .registry = text,
                                 .repository = text,
                                 .reference = text,
                                 .would = text,
                                 .would_rule = text,
                                 .message = text,
                                 .bytes = -1,
                                 .ms = -1,
                                 .verified = -1};
        char *line = audit_format(&r, "gw1", NOW, true);
        const char *body = strstr(line, "\033[0m"); // Behind the only sequence that is the gateway's own.
        cr_assert(body, "%s: %s", rows[i].why, line);
        for (const char *p = body + 4; p[1] != '\0'; p++)
            cr_expect((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f, "%s: byte 0x%02x left in the line",
                      rows[i].why, (unsigned char)*p);
        free(line);
        r.event = text;
        line = audit_format(&r, "gw1", NOW, true);
        cr_expect(!strchr(line, '\033'), "%s: in an event's name too", rows[i].why);
        free(line);
    }
}

Test(audit_format, other_scripts_are_readable_on_a_terminal) {
    struct audit_record r = record();
    r.event = "start";
    r.message = "Grüße \xf0\x9f\x90\xb3";
    char *line = audit_format(&r, "gw1", NOW, true);
    cr_expect_str_eq(line, "03:04:05Z start  Grüße \xf0\x9f\x90\xb3\n");
    free(line);
}

// --- the documentation ---

static char *slurp(const char *path) {
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s is missing", path);
    char *data = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&data, &len);
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        fwrite(block, 1, n, to);
    fclose(f);
    fclose(to);
    return data;
}

static char *slurp_docs(void) {
    size_t root = strlen(TEST_DATA) - strlen("/tests/unit/data"); // The folder itself may be missing.
    char *path = mem_printf("%.*s/docs/log.md", (int)root, TEST_DATA);
    char *text = slurp(path);
    free(path);
    return text;
}

// "| `word` |" begins this word's row in one of the tables.
static bool documented(const char *text, const char *word, size_t len) {
    char *row = mem_printf("\n| `%.*s` |", (int)len, word);
    bool found = strstr(text, row) != NULL;
    free(row);
    return found;
}

Test(audit_format, docs_name_every_reason) {
    char *text = slurp_docs();
    for (int reason = REASON_NONE + 1; reason <= REASON_LOOP; reason++) {
        const char *word = denial_reason_word((enum denial_reason)reason);
        cr_expect(documented(text, word, strlen(word)), "docs/log.md lacks the reason %s", word);
    }
    free(text);
}

Test(audit_format, docs_name_every_field_in_order) {
    char *text = slurp_docs();
    const struct format_row *every = NULL;
    for (size_t i = 0; i < sizeof json_rows / sizeof *json_rows; i++) {
        if (json_rows[i].r.dropped > 0)
            every = &json_rows[i];
    }
    cr_assert(every);
    struct err err = {0};
    struct json *line = json_parse(every->expect, strlen(every->expect), JSON_STRICT, &err);
    cr_assert(line, "%s", err.text);
    const char *at = text;
    for (const struct json *field = line->child; field; field = field->next) {
        cr_expect(documented(text, field->key, field->key_len), "docs/log.md lacks the field %s", field->key);
        char *row = mem_printf("\n| `%s` |", field->key);
        const char *here = strstr(at, row);
        cr_expect(here, "docs/log.md has the field %s in another place", field->key);
        at = here ? here : at;
        free(row);
    }
    json_free(line);
    free(text);
}
