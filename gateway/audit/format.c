// SPDX-License-Identifier: Apache-2.0
//
// Records as text. The order of the fields is documented in docs/log.md and never changes; new fields go before
// `message`.

#include "gateway/audit/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    LOG_FORMAT = 1,       // The field `v`: raised when a field changes its meaning.
    IMAGE_COLUMN = 46,    // Terminal: images are padded to this many characters.
    BYTES_PER_STEP = 1024 // Terminal: 1 KiB, 1 MiB, ...
};

size_t audit_kept(const char *s) {
    if (!s)
        return 0;
    size_t len = strnlen(s, AUDIT_FIELD_MAX + 1);
    if (len <= AUDIT_FIELD_MAX)
        return len;
    len = AUDIT_FIELD_MAX;
    // Step back over continuation bytes, at most three: a stranger's run of them is no reason to lose the field.
    for (size_t back = 0; back < 4; back++) {
        if (((unsigned char)s[len - back] & 0xC0) != 0x80)
            return len - back;
    }
    return len;
}

static bool given(const char *s) {
    return s && s[0] != '\0';
}

static int hop_count(const struct audit_record *r) {
    return r->hop_count < AUDIT_HOPS_MAX ? r->hop_count : AUDIT_HOPS_MAX;
}

// --- JSON ---

// `key` with what stands around it: `,"event":`.
static void add_string(struct buf *out, const char *key, const char *value) {
    if (!given(value))
        return;
    buf_adds(out, key);
    buf_add_json(out, value, audit_kept(value));
}

static void add_hops(struct buf *out, const struct audit_record *r) {
    int n = hop_count(r);
    if (n <= 0)
        return;
    buf_adds(out, ",\"hops\":[");
    for (int i = 0; i < n; i++) {
        const char *hop = r->hops[i] ? r->hops[i] : "";
        if (i > 0)
            buf_adds(out, ",");
        buf_add_json(out, hop, audit_kept(hop));
    }
    buf_adds(out, "]");
}

// printf() and strftime() would be most of what a line costs.
static void put_digits(char *to, int count, int value) {
    for (; count > 0; value /= 10)
        to[--count] = (char)('0' + value % 10);
}

static void add_time(struct buf *out, int64_t now_ms) {
    int64_t seconds = now_ms / 1000;
    int64_t ms = now_ms % 1000;
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    time_t t = (time_t)seconds;
    struct tm tm;
    bool known = gmtime_r(&t, &tm) && tm.tm_year >= -1900 && tm.tm_year <= 9999 - 1900; // RFC 3339: four digits.
    if (!known) {
        buf_addf(out, "0000-00-00T00:00:00.%03dZ", (int)ms); // A clock beyond the calendar is still a line.
        return;
    }
    char text[] = "0000-00-00T00:00:00.000Z";
    put_digits(text, 4, tm.tm_year + 1900);
    put_digits(text + 5, 2, tm.tm_mon + 1);
    put_digits(text + 8, 2, tm.tm_mday);
    put_digits(text + 11, 2, tm.tm_hour);
    put_digits(text + 14, 2, tm.tm_min);
    put_digits(text + 17, 2, tm.tm_sec);
    put_digits(text + 20, 3, (int)ms);
    buf_adds(out, text);
}

static void add_number(struct buf *out, const char *name, int64_t value) {
    char text[24];
    char *at = text + sizeof text;
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do
        *--at = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (value < 0)
        *--at = '-';
    buf_adds(out, name);
    buf_add(out, at, (size_t)(text + sizeof text - at));
}

static void add_numbers(struct buf *out, const struct audit_record *r) {
    if (r->status != 0)
        add_number(out, ",\"status\":", r->status);
    if (r->bytes >= 0)
        add_number(out, ",\"bytes\":", r->bytes);
    if (r->ms >= 0)
        add_number(out, ",\"ms\":", r->ms);
    if (r->verified >= 0)
        buf_adds(out, r->verified ? ",\"verified\":true" : ",\"verified\":false");
    if (r->dropped > 0)
        buf_addf(out, ",\"dropped\":%" PRIu64, r->dropped);
}

static void format_json(struct buf *out, const struct audit_record *r, const char *gateway, int64_t now_ms) {
    add_number(out, "{\"v\":", LOG_FORMAT);
    buf_adds(out, ",\"time\":\"");
    add_time(out, now_ms);
    buf_adds(out, "\"");
    add_string(out, ",\"event\":", r->event);
    add_string(out, ",\"id\":", r->id);
    add_string(out, ",\"gateway\":", gateway);
    add_string(out, ",\"config\":", r->config);
    add_string(out, ",\"listener\":", r->listener);
    add_string(out, ",\"route\":", r->route);
    add_string(out, ",\"client\":", r->client);
    add_string(out, ",\"who\":", r->who);
    add_string(out, ",\"how\":", r->how);
    add_string(out, ",\"user_agent\":", r->user_agent);
    add_string(out, ",\"method\":", r->method);
    add_string(out, ",\"registry\":", r->registry);
    add_string(out, ",\"repository\":", r->repository);
    add_string(out, ",\"reference\":", r->reference);
    add_string(out, ",\"digest\":", r->digest);
    add_string(out, ",\"media_type\":", r->media_type);
    add_string(out, ",\"action\":", r->action);
    add_string(out, ",\"decision\":", r->decision);
    add_string(out, ",\"would\":", r->would);
    add_string(out, ",\"would_rule\":", r->would_rule);
    add_string(out, ",\"rule\":", r->rule);
    add_string(out, ",\"reason\":", r->reason);
    add_string(out, ",\"upstream\":", r->upstream);
    add_hops(out, r);
    add_numbers(out, r);
    add_string(out, ",\"source\":", r->source);
    add_string(out, ",\"message\":", r->message);
    buf_adds(out, "}\n");
}

// --- terminal ---

// The code point of one valid UTF-8 character of `len` bytes.
static uint32_t code_point(const unsigned char *s, size_t len) {
    if (len == 1)
        return s[0];
    uint32_t c = s[0] & (0xFFU >> (len + 1));
    for (size_t i = 1; i < len; i++)
        c = (c << 6) | (s[i] & 0x3FU);
    return c;
}

// Control characters, and what reorders or hides text: line separators, directional marks, zero widths, tags.
static bool harmless(uint32_t c) {
    if (c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0xAD || c == 0x61C)
        return false;
    if ((c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F))
        return false;
    return c != 0xFEFF && !(c >= 0xFFF9 && c <= 0xFFFB) && !(c >= 0xE0000 && c <= 0xE0FFF);
}

// Append `text` with '?' for everything that a terminal could act on; returns the number of characters.
static size_t add_plain(struct buf *out, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    size_t len = audit_kept(text);
    size_t characters = 0;
    for (size_t i = 0; i < len; characters++) {
        size_t n = buf_utf8_len(s + i, len - i);
        if (n > 0 && harmless(code_point(s + i, n)))
            buf_add(out, s + i, n);
        else
            buf_adds(out, "?");
        i += n > 0 ? n : 1;
    }
    return characters;
}

static size_t add_image(struct buf *out, const struct audit_record *r) {
    size_t n = add_plain(out, r->registry);
    if (given(r->registry) && given(r->repository)) {
        buf_adds(out, "/");
        n++;
    }
    n += add_plain(out, r->repository);
    if (given(r->reference)) {
        buf_adds(out, strchr(r->reference, ':') ? "@" : ":");
        n += 1 + add_plain(out, r->reference);
    }
    if (n == 0) {
        buf_adds(out, "-");
        n = 1;
    }
    return n;
}

static void add_size(struct buf *out, int64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 0) {
        buf_addf(out, " %10s", "-");
        return;
    }
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= BYTES_PER_STEP && unit + 1 < sizeof units / sizeof *units) {
        value /= BYTES_PER_STEP;
        unit++;
    }
    char text[32];
    snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    buf_addf(out, " %10s", text);
}

static void add_duration(struct buf *out, int64_t ms) {
    enum { MS_SHOWN_MAX = 9999 };
    char text[32] = "-";
    if (ms > MS_SHOWN_MAX)
        snprintf(text, sizeof text, "%.1f s", (double)ms / 1000);
    else if (ms >= 0)
        snprintf(text, sizeof text, "%d ms", (int)ms);
    buf_addf(out, " %9s", text);
}

static void add_decision(struct buf *out, const struct audit_record *r, bool colour) {
    bool would = given(r->would);
    const char *word = would ? "would" : given(r->decision) ? r->decision : "-";
    const char *sgr = would ? "33" : strcmp(word, "deny") == 0 ? "31" : strcmp(word, "allow") == 0 ? "32" : NULL;
    bool paint = colour && sgr;
    if (paint)
        buf_addf(out, "\033[%sm", sgr);
    size_t n = add_plain(out, word);
    if (paint)
        buf_adds(out, "\033[0m");
    buf_addf(out, "%*s", n < 5 ? (int)(5 - n) : 0, "");
}

static void add_part(struct buf *out, size_t *parts, const char *before, const char *text, const char *after) {
    if (!given(text))
        return;
    buf_adds(out, (*parts)++ > 0 ? "; " : "  ");
    buf_adds(out, before);
    add_plain(out, text);
    buf_adds(out, after);
}

// Why it came out so: the sentence where there is one, else the reason; then the rule and whatever is unusual.
static void add_why(struct buf *out, const struct audit_record *r) {
    size_t parts = 0;
    if (given(r->would))
        add_part(out, &parts, "would be denied by ", given(r->would_rule) ? r->would_rule : "the rules", "");
    if (given(r->message))
        add_part(out, &parts, "", r->message, "");
    else
        add_part(out, &parts, "", r->reason, "");
    if (given(r->decision) && strcmp(r->decision, "deny") == 0)
        add_part(out, &parts, "rule ", r->rule, "");
    if (r->verified == 0)
        add_part(out, &parts, "", "not verified", "");
    if (given(r->id) && given(r->decision) && strcmp(r->decision, "deny") == 0)
        add_part(out, &parts, "id ", r->id, "");
}

static void add_clock(struct buf *out, int64_t now_ms) {
    enum { DAY = 24 * 60 * 60 };
    int64_t second = now_ms / 1000 % DAY;
    int of_day = (int)(second < 0 ? second + DAY : second);
    buf_addf(out, "%02d:%02d:%02dZ ", of_day / 3600, of_day / 60 % 60, of_day % 60);
}

static void format_terminal(struct buf *out, const struct audit_record *r, int64_t now_ms, bool colour) {
    add_clock(out, now_ms);
    if (given(r->event) && strcmp(r->event, "request") != 0) {
        add_plain(out, r->event);
        size_t parts = 0;
        add_part(out, &parts, "", r->message, "");
        buf_adds(out, "\n");
        return;
    }
    add_decision(out, r, colour);
    buf_adds(out, " ");
    size_t n = add_plain(out, given(r->method) ? r->method : "-");
    buf_addf(out, "%*s ", n < 4 ? (int)(4 - n) : 0, "");
    n = add_image(out, r);
    buf_addf(out, "%*s", n < IMAGE_COLUMN ? (int)(IMAGE_COLUMN - n) : 0, "");
    if (r->status != 0)
        buf_addf(out, " %3d", r->status);
    else
        buf_adds(out, "   -");
    add_size(out, r->bytes);
    add_duration(out, r->ms);
    add_why(out, r);
    buf_adds(out, "\n");
}

// --- both ---

void audit_format_line(struct buf *out, const struct audit_record *r, const char *gateway, int64_t now_ms,
                       enum audit_form form) {
    if (form == AUDIT_JSON)
        format_json(out, r, gateway, now_ms);
    else
        format_terminal(out, r, now_ms, form == AUDIT_TERMINAL_COLOUR);
}

char *audit_format(const struct audit_record *r, const char *gateway, int64_t now_ms, bool terminal) {
    struct buf out;
    buf_init(&out, AUDIT_LINE_MAX);
    audit_format_line(&out, r, gateway, now_ms, terminal ? AUDIT_TERMINAL_COLOUR : AUDIT_JSON);
    return buf_steal(&out);
}
