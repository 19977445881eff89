// SPDX-License-Identifier: Apache-2.0
//
// A file of the catalogue, which a site may add. What is accepted names a registry that can be found again, leads
// nowhere but over https, and says of every host where it is documented and whether strangers share it.

#include "mirrors/base/host.h"
#include "mirrors/catalog/catalog.h"
#include "mirrors/oci/name.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCE_MAX = 500 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void check_hosts(const struct catalog_host *hosts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        require(host_pattern_valid(hosts[i].host, NULL));
        require(hosts[i].source[0] != '\0' && strlen(hosts[i].source) <= SOURCE_MAX);
        require(hosts[i].shared || !host_pattern_is_shared(hosts[i].host, NULL));
    }
}

static void check_registry(const struct catalog_entry *e) {
    char canonical[REGISTRY_MAX + 1];
    if (strchr(e->registry, '*') != NULL) {
        require(host_pattern_valid(e->registry, NULL) && e->endpoint_count == 0);
        return;
    }
    require(name_registry(e->registry, strlen(e->registry), canonical, NULL));
    require(strcmp(e->registry, canonical) == 0);
}

static void check_endpoints(const struct catalog_entry *e) {
    struct hostport at;
    for (size_t i = 0; i < e->endpoint_count; i++) {
        require(strncmp(e->endpoints[i], "https://", 8) == 0);
        require(hostport_parse(e->endpoints[i] + 8, strlen(e->endpoints[i] + 8), &at, NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    struct catalog *c = catalog_parse((const char *)data, size, &err);
    require((c != NULL) == (err.text[0] == '\0'));
    if (c == NULL)
        return 0;
    require(catalog_count(c) == 1);
    const struct catalog_entry *e = catalog_at(c, 0);
    require(catalog_find(c, e->registry) == e);
    check_registry(e);
    check_endpoints(e);
    check_hosts(e->realm_hosts, e->realm_host_count);
    check_hosts(e->redirect_hosts, e->redirect_host_count);
    catalog_free(c);
    return 0;
}
