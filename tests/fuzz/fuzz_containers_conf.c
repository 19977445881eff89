// SPDX-License-Identifier: Apache-2.0
//
// registries.conf over one that was read before, and policy.json. A file that is refused changes nothing.

#include "gateway/doctor/containers_conf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char before[] = "[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw.test/docker.io\"\n";

static void read_conf(const char *text, size_t len) {
    struct containers_conf c;
    containers_conf_init(&c);
    if (!containers_conf_add(&c, "before", before, strlen(before), NULL))
        abort();
    bool ok = containers_conf_add(&c, "more", text, len, NULL);
    const struct containers_registry *r = containers_conf_find(&c, "docker.io/library/alpine");
    if (r == NULL || (!ok && (c.count != 1 || strcmp(r->location, "gw.test/docker.io") != 0)))
        abort();
    containers_conf_find(&c, "a.example.com:5000/x/y");
    containers_conf_deinit(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct containers_policy *p = containers_policy_read((const char *)data, size, NULL);
    if (p != NULL)
        containers_policy_accepts(p, "a.example.com:5000/x/y");
    containers_policy_free(p);
    read_conf((const char *)data, size);
    return 0;
}
