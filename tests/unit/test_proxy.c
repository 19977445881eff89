// SPDX-License-Identifier: Apache-2.0
//
// NO_PROXY as sites write it.

#include "mirrors/upstream/proxy.h"

#include <criterion/criterion.h>

Test(proxy, applies) {
    static const struct {
        const char *no_proxy, *host;
        bool applies;
        const char *why;
    } rows[] = {
        {NULL, "registry.example.com", true, "no list"},
        {"", "registry.example.com", true, "an empty list"},
        {"*", "registry.example.com", false, "everything"},
        {"*", "10.1.2.3", false, "everything, addresses too"},
        {"example.com", "example.com", false, "the name itself"},
        {"example.com", "registry.example.com", false, "and below it"},
        {"example.com", "badexample.com", true, "but not what merely ends so"},
        {"example.com", "example.com.evil.test", true, "nor what merely begins so"},
        {".example.com", "registry.example.com", false, "a leading dot"},
        {".example.com", "example.com", false, "a leading dot covers the name itself, as in curl"},
        {"*.example.com", "registry.example.com", false, "a leading wildcard"},
        {"EXAMPLE.com", "registry.example.COM", false, "in any case"},
        {"a.test, b.test\tc.test", "b.test", false, "commas and spaces"},
        {"a.test, b.test\tc.test", "c.test", false, "a tab"},
        {",,a.test,", "a.test", false, "empty entries"},
        {".", "example.com", true, "a dot alone is nothing"},
        {"*.", "example.com", true, "a wildcard and a dot are nothing"},
        {"10.0.0.0/8", "10.1.2.3", false, "a block"},
        {"10.0.0.0/8", "11.1.2.3", true, "outside of the block"},
        {"10.1.2.3", "10.1.2.3", false, "an address"},
        {"10.1.2.3", "10.1.2.30", true, "another address"},
        {"fd00::/8", "fd00::1", false, "a block of IPv6"},
        {"2.3", "10.1.2.3", true, "the end of an address is no domain"},
        {"10.0.0.0/33", "10.1.2.3", true, "nonsense covers nothing"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        cr_expect_eq(proxy_applies(rows[i].no_proxy, rows[i].host), rows[i].applies, "%s: %s by %s", rows[i].why,
                     rows[i].host, rows[i].no_proxy);
}

Test(proxy, long_entry) {
    char list[1000];
    memset(list, 'a', sizeof(list) - 1);
    memcpy(list + 500, ",b.test", 7);
    list[507] = '\0';
    cr_expect(proxy_applies(list, "c.test"), "an entry that is too long covers nothing");
    cr_expect_not(proxy_applies(list, "b.test"), "and does not hide the next");
}
