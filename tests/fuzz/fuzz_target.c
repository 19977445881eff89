// SPDX-License-Identifier: Apache-2.0
//
// Location headers from strangers: whatever is accepted must be https to a listed or own host, and must mean the same
// when it is judged again.

#include "mirrors/upstream/target.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static char *redirect_hosts[] = {"s3.example.com", "*.cdn.example.com"};
static const char from[] = "https://registry.example.com:5000/v2/a/b/blobs/sha256:abc";

static bool ends_with(const char *s, const char *tail) {
    size_t len = strlen(s), tail_len = strlen(tail);
    return len > tail_len && strcmp(s + len - tail_len, tail) == 0;
}

static bool host_expected(const struct hostport *at) {
    bool own = strcmp(at->host, "registry.example.com") == 0 && at->port == 5000;
    return own || strcmp(at->host, "s3.example.com") == 0 || ends_with(at->host, ".cdn.example.com");
}

static void check_accepted(const struct registry *r, const struct endpoint *e, const struct target *t) {
    struct target again;
    require(!t->plain && strncmp(t->url, "https://", 8) == 0 && host_expected(&t->at));
    require(strncmp(t->url + 8, t->at.host, strlen(t->at.host)) == 0);
    require(target_judge(r, e, TARGET_REDIRECT, from, t->url, &again, NULL) == TARGET_OK);
    require(strcmp(again.at.host, t->at.host) == 0 && again.at.port == t->at.port);
    target_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct registry r = {.name = "registry.example.com", .redirect_hosts = redirect_hosts, .redirect_host_count = 2};
    struct endpoint e = {.at = {.host = "registry.example.com", .port = 5000}};
    char *location = strndup((const char *)data, size);
    struct target t;
    struct err err = {0};
    enum target_verdict v = target_judge(&r, &e, TARGET_REDIRECT, from, location, &t, &err);
    require(t.url != NULL && (v == TARGET_OK) == (err.text[0] == '\0'));
    require(!t.unlisted || v == TARGET_HOST);
    if (v == TARGET_OK)
        check_accepted(&r, &e, &t);
    target_deinit(&t);
    free(location);
    return 0;
}
