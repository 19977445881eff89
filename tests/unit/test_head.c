// SPDX-License-Identifier: Apache-2.0
//
// Request heads that libh2o would take and the gateway does not.

#include "gateway/front/head.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 200 };

#define LINE "GET /v2/ HTTP/1.1\r\n"
#define HOST "host: gate.test\r\n"
#define PAD "x-pad: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n"

static const struct {
    const char *why, *head;
    enum head_fault fault;
} rows[] = {
    {"an ordinary head", LINE HOST "accept: */*\r\n\r\n", HEAD_OK},
    {"bare line feeds end lines, too", "GET /v2/ HTTP/1.1\nhost: x\n\n", HEAD_OK},
    {"an empty line before it", "\r\n" LINE HOST "\r\n", HEAD_OK},
    {"one length", LINE HOST "content-length: 4\r\n\r\nbody", HEAD_OK},
    {"one coding", LINE HOST "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", HEAD_OK},
    {"what follows is not looked at", LINE HOST "\r\nGET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n folded\r\n\r\n", HEAD_OK},
    {"a body that looks like headers", LINE HOST "content-length: 40\r\n\r\nhost: b\r\ncontent-length: 0\r\n", HEAD_OK},
    {"a name that begins like one of them", LINE HOST "hosts: a\r\ncontent-length-x: 1\r\nx-host: b\r\n\r\n", HEAD_OK},
    {"HTTP/1.0 knows no Host", "GET /v2/ HTTP/1.0\r\n\r\n", HEAD_OK},
    {"length and coding", LINE HOST "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n", HEAD_FRAMING},
    {"coding and length", LINE HOST "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n", HEAD_FRAMING},
    {"two lengths", LINE HOST "content-length: 0\r\ncontent-length: 40\r\n\r\n", HEAD_FRAMING},
    {"two lengths that agree", LINE HOST "content-length: 4\r\ncontent-length: 4\r\n\r\n", HEAD_FRAMING},
    {"two codings", LINE HOST "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n", HEAD_FRAMING},
    {"in any case", LINE HOST "Content-Length: 4\r\nTRANSFER-ENCODING: chunked\r\n\r\n", HEAD_FRAMING},
    {"two hosts", LINE HOST "host: other.test\r\n\r\n", HEAD_HOST},
    {"no host", LINE "accept: */*\r\n\r\n", HEAD_HOST},
    {"a folded line", LINE HOST "accept: a,\r\n b\r\n\r\n", HEAD_FOLDED},
    {"folded with a tab", LINE HOST "accept: a,\r\n\tb\r\n\r\n", HEAD_FOLDED},
    {"a fold that hides a second length", LINE HOST "content-length: 0\r\n content-length: 40\r\n\r\n", HEAD_FOLDED},
    {"over the bound", LINE HOST PAD PAD PAD "\r\n", HEAD_TOO_LARGE},
    {"the body does not count", LINE HOST "\r\n" PAD PAD PAD, HEAD_OK},
    {"nothing at all", "", HEAD_OK},
};

Test(head, judged) {
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(head_judge(rows[i].head, strlen(rows[i].head), MAX), rows[i].fault, "%s", rows[i].why);
}

/// libh2o hands over a buffer, not a string: nothing is read past `len`.
Test(head, no_end) {
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t len = 0; len < strlen(rows[i].head); len++) {
            char *copy = strndup(rows[i].head, len);
            head_judge(copy, len, MAX);
            free(copy);
        }
    }
}

Test(head, bound_is_exact) {
    const char *head = LINE HOST "\r\n";
    cr_expect_eq(head_judge(head, strlen(head), strlen(head)), HEAD_OK);
    cr_expect_eq(head_judge(head, strlen(head), strlen(head) - 1), HEAD_TOO_LARGE);
}
