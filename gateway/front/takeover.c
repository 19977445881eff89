// SPDX-License-Identifier: Apache-2.0
//
// Names that are taken over.

#include "gateway/front/takeover.h"

#include <stdio.h>
#include <string.h>

bool takeover_own_name(const struct listener_config *listener, const char *host) {
    for (size_t i = 0; i < listener->name_count; i++)
        if (strcmp(listener->names[i], host) == 0)
            return true;
    return false;
}

bool takeover_of(const struct config *config, const struct listener_config *listener, const char *host,
                 struct takeover *out) {
    *out = (struct takeover){0};
    if (host[0] == '\0' || takeover_own_name(listener, host))
        return false;
    bool realm = false;
    const struct registry *r = config_taken_over(config, host, &realm);
    if (r == NULL || (realm && !listener->challenge))
        return false;
    out->registry = r;
    out->realm = realm;
    snprintf(out->name, sizeof(out->name), "%s", r->wildcard ? host : r->name);
    return true;
}

bool takeover_same_host(const char *authority, size_t len, const char *host) {
    struct hostport at;
    return hostport_parse(authority, len, &at, NULL) && strcmp(at.host, host) == 0;
}
