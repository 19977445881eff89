// SPDX-License-Identifier: Apache-2.0
//
// Knowing oneself: by address and by header.

#include "mirrors/upstream/self.h"

#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"

#include <ifaddrs.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct self {
    char via[SELF_VIA_HEX + 1];
    pthread_mutex_t lock; ///< Guards the rest.
    struct self_listener listener[SELF_LISTENERS_MAX];
    size_t count;
};

struct self *self_new(void) {
    uint8_t bytes[SELF_VIA_HEX / 2];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return NULL;
    struct self *s = mem_zalloc(1, sizeof(*s));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(s->via + 2 * i, 3, "%02x", bytes[i]);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void self_free(struct self *s) {
    if (s == NULL)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void self_listens(struct self *s, const struct self_listener *listeners, size_t count) {
    pthread_mutex_lock(&s->lock);
    s->count = count < SELF_LISTENERS_MAX ? count : SELF_LISTENERS_MAX;
    if (s->count > 0)
        memcpy(s->listener, listeners, s->count * sizeof(*listeners));
    pthread_mutex_unlock(&s->lock);
}

static bool is_any(const uint8_t address[16]) {
    static const uint8_t v6[16], v4[16] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address, v6, 16) == 0 || memcmp(address, v4, 16) == 0;
}

static bool is_loopback(const uint8_t address[16]) {
    static const uint8_t v6[16] = {[15] = 1}, v4[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    return memcmp(address, v6, 16) == 0 || memcmp(address, v4, 13) == 0;
}

static bool has_address(const struct ifaddrs *interfaces, const uint8_t address[16]) {
    uint8_t own[16];
    for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next)
        if (i->ifa_addr != NULL && address_from_sockaddr(i->ifa_addr, own) && memcmp(own, address, 16) == 0)
            return true;
    return false;
}

/// Of this machine, as it is now: addresses come and go.
static bool is_local(const uint8_t address[16]) {
    struct ifaddrs *interfaces = NULL;
    if (is_loopback(address) || is_any(address)) // A connection to "any" goes to this machine.
        return true;
    bool local = getifaddrs(&interfaces) == 0 && has_address(interfaces, address);
    if (interfaces != NULL)
        freeifaddrs(interfaces);
    return local;
}

/// Does a listener have exactly this address, or (`any`) all of this machine's?
static bool listens(struct self *s, const uint8_t address[16], uint16_t port, bool *any) {
    bool exact = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->count; i++) {
        if (s->listener[i].port != port)
            continue;
        exact = exact || memcmp(s->listener[i].address, address, 16) == 0;
        *any = *any || is_any(s->listener[i].address);
    }
    pthread_mutex_unlock(&s->lock);
    return exact;
}

bool self_is(struct self *s, const uint8_t address[16], uint16_t port) {
    bool any = false;
    return listens(s, address, port, &any) || (any && is_local(address));
}

const char *self_via(const struct self *s) {
    return s->via;
}

bool self_knows(const struct self *s, const char *value, size_t len) {
    return len == SELF_VIA_HEX && CRYPTO_memcmp(value, s->via, SELF_VIA_HEX) == 0;
}
