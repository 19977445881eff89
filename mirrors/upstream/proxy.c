// SPDX-License-Identifier: Apache-2.0
//
// NO_PROXY, decided by ourselves: the address guard has to know whether a connection goes to the
// host or to the proxy, and libcurl does not tell.

#include "mirrors/upstream/proxy.h"

#include "mirrors/base/host.h"

#include <string.h>
#include <strings.h>

enum { NO_PROXY_ENTRY_MAX = 300 };

static bool block_covers(const char *entry, const char *host) {
    struct cidr block;
    uint8_t addr[16];
    return address_from_text(host, addr) && cidr_parse(entry, &block, NULL) && cidr_contains(&block, addr);
}

static bool domain_covers(const char *entry, const char *host) {
    if (entry[0] == '*' && entry[1] == '.')
        entry++;
    if (entry[0] == '.')
        entry++;
    size_t entry_len = strlen(entry), host_len = strlen(host);
    if (entry_len == 0 || host_len < entry_len || strcasecmp(host + host_len - entry_len, entry) != 0)
        return false;
    return host_len == entry_len || host[host_len - entry_len - 1] == '.';
}

static bool entry_covers(const char *entry, const char *host) {
    if (strcmp(entry, "*") == 0)
        return true;
    return host_is_address(host) ? block_covers(entry, host) : domain_covers(entry, host);
}

bool proxy_applies(const char *no_proxy, const char *host) {
    const char *p = no_proxy;
    while (p != NULL && *p != '\0') {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ", \t");
        char entry[NO_PROXY_ENTRY_MAX];
        if (len > 0 && len < sizeof(entry)) {
            memcpy(entry, p, len);
            entry[len] = '\0';
            if (entry_covers(entry, host))
                return false;
        }
        p += len;
    }
    return true;
}
