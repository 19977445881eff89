// SPDX-License-Identifier: Apache-2.0
//
// What the gateway must not ask: itself. Where a registry's name leads clients to the gateway, it may lead the gateway
// there too.
//
// Two guards: no connection is made to an address on which the gateway listens, and every request carries a header that
// the gateway would know if it came back by another way. Any thread; a lock inside.

#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SELF_LISTENERS_MAX = 256, SELF_VIA_HEX = 32 };

struct self_listener {
    uint8_t address[16]; ///< IPv4 mapped. All zero, or IPv4's 0.0.0.0: every address of this machine.
    uint16_t port;
};

struct self;

static const char self_header[] = "Pullgate-Via";

/// NULL: the kernel gives no random bytes.
struct self *self_new(void);
void self_free(struct self *s); ///< NULL is allowed.

/// The listeners from now on; at most SELF_LISTENERS_MAX are kept.
void self_listens(struct self *s, const struct self_listener *listeners, size_t count);

/// Would this connection end at one of them?
bool self_is(struct self *s, const uint8_t address[16], uint16_t port);

/// The value of `self_header`: made by this process, known to nobody but those whom it asks.
const char *self_via(const struct self *s);

/// Is this such a value, of this very process? In constant time.
bool self_knows(const struct self *s, const char *value, size_t len);
