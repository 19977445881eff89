// SPDX-License-Identifier: Apache-2.0
//
// Range and Content-Range.

#include "mirrors/oci/range.h"

#include <criterion/criterion.h>
#include <string.h>

struct parse_row {
    const char *value;
    struct range range;
};

Test(range, parse) {
    const struct parse_row rows[] = {
        {"bytes=0-0", {.kind = RANGE_BYTES, .first = 0, .last = 0}},
        {"bytes=5-9", {.kind = RANGE_BYTES, .first = 5, .last = 9}},
        {"bytes=5-", {.kind = RANGE_BYTES, .first = 5, .last = UINT64_MAX}},
        {"BYTES=5-", {.kind = RANGE_BYTES, .first = 5, .last = UINT64_MAX}},
        {" bytes=5-6\t", {.kind = RANGE_BYTES, .first = 5, .last = 6}},
        {"bytes=-7", {.kind = RANGE_SUFFIX, .suffix = 7}},
        {"bytes=-0", {.kind = RANGE_SUFFIX, .suffix = 0}},
        {"bytes=5-99999999999999999999999", {.kind = RANGE_BYTES, .first = 5, .last = UINT64_MAX}},
        {"bytes=18446744073709551616-", {.kind = RANGE_BYTES, .first = UINT64_MAX, .last = UINT64_MAX}},
        {"bytes=-99999999999999999999", {.kind = RANGE_SUFFIX, .suffix = UINT64_MAX}},
        {"", {.kind = RANGE_NONE}},
        {"bytes", {.kind = RANGE_NONE}},
        {"bytes=", {.kind = RANGE_NONE}},
        {"bytes=-", {.kind = RANGE_NONE}},
        {"bytes=--1", {.kind = RANGE_NONE}},
        {"bytes=9-5", {.kind = RANGE_NONE}},
        {"bytes=99999999999999999999-5", {.kind = RANGE_NONE}},
        {"bytes=0-1,3-4", {.kind = RANGE_NONE}},
        {"bytes=0 -1", {.kind = RANGE_NONE}},
        {"bytes=a-b", {.kind = RANGE_NONE}},
        {"bytes=0x0-1", {.kind = RANGE_NONE}},
        {"bytes=+0-1", {.kind = RANGE_NONE}},
        {"bytes=0-1x", {.kind = RANGE_NONE}},
        {"bytes 0-1", {.kind = RANGE_NONE}},
        {"items=0-1", {.kind = RANGE_NONE}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct range r = range_parse(rows[i].value, strlen(rows[i].value));
        cr_expect_eq(r.kind, rows[i].range.kind, "%s", rows[i].value);
        cr_expect_eq(r.first, rows[i].range.first, "%s", rows[i].value);
        cr_expect_eq(r.last, rows[i].range.last, "%s", rows[i].value);
        cr_expect_eq(r.suffix, rows[i].range.suffix, "%s", rows[i].value);
    }
}

struct fit_row {
    const char *value;
    uint64_t size;
    enum range_fit fit;
    uint64_t first, last;
};

Test(range, resolve) {
    const struct fit_row rows[] = {
        {"", 10, RANGE_WHOLE, 0, 0},
        {"", 0, RANGE_WHOLE, 0, 0},
        {"bytes=0-", 10, RANGE_PARTIAL, 0, 9},
        {"bytes=0-9", 10, RANGE_PARTIAL, 0, 9},
        {"bytes=0-99", 10, RANGE_PARTIAL, 0, 9},
        {"bytes=9-", 10, RANGE_PARTIAL, 9, 9},
        {"bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-3", 10, RANGE_PARTIAL, 7, 9},
        {"bytes=-10", 10, RANGE_PARTIAL, 0, 9},
        {"bytes=-99", 10, RANGE_PARTIAL, 0, 9},
        {"bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999-", UINT64_MAX, RANGE_UNSATISFIABLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct range r = range_parse(rows[i].value, strlen(rows[i].value));
        uint64_t first = 0, last = 0;
        cr_expect_eq(range_resolve(&r, rows[i].size, &first, &last), rows[i].fit, "%s", rows[i].value);
        if (rows[i].fit == RANGE_PARTIAL) {
            cr_expect_eq(first, rows[i].first, "%s", rows[i].value);
            cr_expect_eq(last, rows[i].last, "%s", rows[i].value);
        }
    }
}

struct content_row {
    const char *value;
    bool ok;
    uint64_t first, last, total;
};

Test(range, content_range) {
    const struct content_row rows[] = {
        {"bytes 5-9/10", true, 5, 9, 10},
        {"bytes 0-0/1", true, 0, 0, 1},
        {"bytes 5-9/*", true, 5, 9, UINT64_MAX},
        {"Bytes  5-9/10 ", true, 5, 9, 10},
        {"bytes 5-10/10", false, 0, 0, 0},
        {"bytes 9-5/10", false, 0, 0, 0},
        {"bytes */10", false, 0, 0, 0},
        {"bytes=5-9/10", false, 0, 0, 0},
        {"bytes5-9/10", false, 0, 0, 0},
        {"bytes 5-9", false, 0, 0, 0},
        {"bytes 5-9/", false, 0, 0, 0},
        {"bytes 5-/10", false, 0, 0, 0},
        {"bytes 5-9/10x", false, 0, 0, 0},
        {"bytes 5-9/*0", false, 0, 0, 0},
        {"bytes 0-99999999999999999999/*", false, 0, 0, 0},
        {"bytes 0-1/99999999999999999999", false, 0, 0, 0},
        {"items 0-1/2", false, 0, 0, 0},
        {"", false, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t first = 0, last = 0, total = 0;
        cr_expect_eq(content_range_parse(rows[i].value, strlen(rows[i].value), &first, &last, &total), rows[i].ok, "%s",
                     rows[i].value);
        cr_expect_eq(first, rows[i].first, "%s", rows[i].value);
        cr_expect_eq(last, rows[i].last, "%s", rows[i].value);
        cr_expect_eq(total, rows[i].total, "%s", rows[i].value);
    }
}
