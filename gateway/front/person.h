// SPDX-License-Identifier: Apache-2.0
//
// Who asks: by the connection's certificate, else by what stands in Authorization; and from where.
//
// On the exchange's loop. What stands in Authorization is judged by gateway/identity and never logged or passed on.

#pragma once

#include "gateway/front/exchange.h"

enum { FORWARDED_HOPS_MAX = 64 };

/// Where the request comes from: the peer, or whom the listener's trusted proxies name.
void person_address(struct exchange *ex);

/// What stands in Authorization; no base: nothing. Twice is something that is no credential, whatever each of them
/// says.
h2o_iovec_t person_authorization(const h2o_req_t *req);

/// Find out who asks and call `next`, now or later, unless the request has gone. Who may not go on is answered here.
void person_ask(struct exchange *ex, void (*next)(struct exchange *ex));

/// The certificate's verdict alone. False: it was answered, as it is missing or not good.
bool person_certified(struct exchange *ex);

/// Whoever says who they are might get it: ask them, where the listener does that. False: it does not, or they did.
bool person_challenge(struct exchange *ex, const char *sentence);

/// The host by which the client called us, with its port, for a realm or a service: `out` has HOSTPORT_TEXT_MAX + 1
/// bytes.
void person_asked_host(const struct exchange *ex, char *out);
