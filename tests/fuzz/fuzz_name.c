// SPDX-License-Identifier: Apache-2.0
//
// Images, registries and host patterns from strangers: the canonical form must be a fixed point, or
// one name would have two policies.

#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check_image(const char *text) {
    struct image_name name, again;
    char once[IMAGE_TEXT_MAX + 1], twice[IMAGE_TEXT_MAX + 1];
    if (!name_parse(text, "docker.io", &name, NULL))
        return;
    require(name_repository_valid(name.repository, strlen(name.repository)));
    name_format(&name, once);
    // "host:443/app" becomes "host/app", whose first component no longer shows that it is a registry.
    if (!name_looks_like_registry(name.registry, strlen(name.registry)))
        return;
    require(name_parse(once, "docker.io", &again, NULL));
    name_format(&again, twice);
    require(strcmp(once, twice) == 0);
}

static void check_registry(const char *text, size_t len) {
    char once[REGISTRY_MAX + 1], twice[REGISTRY_MAX + 1];
    if (!name_registry(text, len, once, NULL))
        return;
    require(strlen(once) <= REGISTRY_MAX);
    require(name_registry(once, strlen(once), twice, NULL));
    require(strcmp(once, twice) == 0);
}

static void check_pattern(const char *text) {
    struct err err = {0};
    struct hostport hp = {.host = "a.b.example.com"};
    bool valid = host_pattern_valid(text, &err);
    require(valid == (err.text[0] == '\0'));
    host_pattern_match(text, &hp, 443);
    require(host_pattern_specificity(text) >= 0);
    struct err shared = {0};
    require(host_pattern_is_shared(text, &shared) == (shared.text[0] != '\0'));
    // A host matches itself.
    if (hostport_parse(text, strlen(text), &hp, NULL))
        require(valid && host_pattern_match(text, &hp, 443));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_strndup((const char *)data, size);
    char subject[DIGEST_TEXT_MAX + 1];
    struct cidr block;
    check_image(text);
    check_registry((const char *)data, size);
    check_pattern(text);
    if (name_tag_subject(text, subject))
        require(name_tag_valid(text, strlen(text)));
    cidr_parse(text, &block, NULL);
    free(text);
    return 0;
}
