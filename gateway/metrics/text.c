// SPDX-License-Identifier: Apache-2.0
//
// The text format of Prometheus.

#include "gateway/metrics/text.h"

#include <inttypes.h>
#include <string.h>

void text_family(struct buf *b, const char *name, const char *type, const char *help) {
    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/// One character of a value, or what stands for it; returns how many bytes of `s` it took.
static size_t add_character(struct buf *b, const char *s) {
    size_t len = buf_utf8_len((const unsigned char *)s, strlen(s));
    if (len == 0)
        buf_adds(b, "\xEF\xBF\xBD"); // U+FFFD
    else if (*s == '\n')
        buf_adds(b, "\\n");
    else if (*s == '"' || *s == '\\')
        buf_addf(b, "\\%c", *s);
    else
        buf_add(b, s, len);
    return len != 0 ? len : 1;
}

static void add_labels(struct buf *b, const struct text_label *labels) {
    for (const struct text_label *l = labels; l->name != NULL; l++) {
        buf_addf(b, "%s%s=\"", l == labels ? "{" : ",", l->name);
        for (const char *s = l->value; *s != '\0';)
            s += add_character(b, s);
        buf_adds(b, "\"");
    }
    if (labels->name != NULL)
        buf_adds(b, "}");
}

static void add_value(struct buf *b, uint64_t value, enum text_unit unit) {
    if (unit == TEXT_WHOLE)
        buf_addf(b, " %" PRIu64 "\n", value);
    else if (unit == TEXT_MILLI)
        buf_addf(b, " %" PRIu64 ".%03" PRIu64 "\n", value / 1000, value % 1000);
    else
        buf_addf(b, " %" PRIu64 ".%06" PRIu64 "\n", value / 1000000, value % 1000000);
}

void text_sample(struct buf *b, const char *name, const struct text_label *labels, uint64_t value,
                 enum text_unit unit) {
    buf_adds(b, name);
    if (labels != NULL)
        add_labels(b, labels);
    add_value(b, value, unit);
}

void text_single(struct buf *b, const char *name, const char *type, const char *help, uint64_t value,
                 enum text_unit unit) {
    text_family(b, name, type, help);
    text_sample(b, name, NULL, value, unit);
}
