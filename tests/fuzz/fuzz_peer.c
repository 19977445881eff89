// SPDX-License-Identifier: Apache-2.0
//
// Any DER that OpenSSL takes for a certificate: names come out bounded, without control characters.

#include "certs/peer.h"

#include <stdlib.h>
#include <string.h>

static void check(const char *text, size_t max) {
    size_t len = strlen(text);
    if (len > max)
        abort();
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum peer_name_from orders[][4] = {{PEER_URI, PEER_DNS, PEER_EMAIL, PEER_COMMON_NAME},
                                                    {PEER_COMMON_NAME, PEER_EMAIL, PEER_DNS, PEER_URI}};
    const unsigned char *at = data;
    X509 *x = d2i_X509(NULL, &at, (long)size);
    for (size_t i = 0; x != NULL && i < 2; i++) {
        struct peer p;
        peer_read(x, orders[i], 4, &p);
        check(p.name, PEER_NAME_MAX);
        if (p.group_count > PEER_GROUPS_MAX)
            abort();
        for (size_t k = 0; k < p.group_count; k++)
            check(p.groups[k], PEER_NAME_MAX);
        peer_deinit(&p);
    }
    X509_free(x);
    return 0;
}
