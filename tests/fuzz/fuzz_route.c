// SPDX-License-Identifier: Apache-2.0
//
// Request targets. Input: a method, a space, a target. What is let through must be canonical and within the grammar.

#include "gateway/route/route.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool configured(void *ctx, const char *registry) {
    return strcmp(registry, "ghcr.io") == 0 || strcmp(registry, "docker.io") == 0;
}

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check_refused(const struct route *r) {
    require(r->status == 400 || r->status == 403 || r->status == 404 || r->status == 405);
    require(r->code && r->err.text[0] && (r->allow != NULL) == (r->status == 405));
    require(!r->pull && !r->push && !r->erase);
}

static void check_names(const struct route *r) {
    char registry[REGISTRY_MAX + 1];
    char repository[REPOSITORY_MAX + 1];
    require(name_registry(r->registry, strlen(r->registry), registry, NULL) && strcmp(registry, r->registry) == 0);
    require(r->pull + r->push + r->erase == 1);
    require(r->at_default == (r->form == FORM_ROOT) && r->ns_given == (r->ns[0] != '\0'));
    if (r->at_default)
        require(strcmp(r->registry, "docker.io") == 0);
    if (r->kind == ROUTE_BASE)
        return;
    require(name_repository_valid(r->repository, strlen(r->repository)));
    require(name_repository(r->registry, r->repository, strlen(r->repository), repository));
    require(strcmp(repository, r->repository) == 0);
}

static void check_route(const struct route *r) {
    enum digest_algorithm algorithm;
    if (r->kind == ROUTE_REFUSED) {
        check_refused(r);
        return;
    }
    if (r->kind == ROUTE_TOKEN || r->kind == ROUTE_SITE || r->kind == ROUTE_REPORT)
        return;
    check_names(r);
    if (r->kind == ROUTE_MANIFEST)
        require((r->tag[0] == '\0') != (r->digest[0] == '\0'));
    if (r->tag[0])
        require(name_tag_valid(r->tag, strlen(r->tag)));
    if (r->digest[0])
        require(digest_check(r->digest, strlen(r->digest), &algorithm) == DIGEST_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    const char *space = memchr(text, ' ', size);
    if (!space)
        return 0;
    struct route_context ctx = {.default_registry = "docker.io", .configured = configured};
    struct route_context own = {
        .default_registry = "docker.io", .configured = configured, .taken_over = "ghcr.io", .tokens = true};
    struct route r;
    size_t method_len = (size_t)(space - text);
    route_parse(&ctx, text, method_len, space + 1, size - method_len - 1, &r);
    require(r.kind != ROUTE_TOKEN && r.kind != ROUTE_CONNECT && r.form != FORM_NAME);
    check_route(&r);
    route_parse(&own, text, method_len, space + 1, size - method_len - 1, &r);
    require(r.kind != ROUTE_SITE && r.kind != ROUTE_REPORT && r.form != FORM_OWN);
    if (r.kind != ROUTE_REFUSED && r.kind != ROUTE_TOKEN)
        require(r.form == FORM_NAME && strcmp(r.registry, "ghcr.io") == 0); // Whatever the path says.
    check_route(&r);
    return 0;
}
