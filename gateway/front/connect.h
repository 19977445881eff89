// SPDX-License-Identifier: Apache-2.0
//
// The gateway as its clients' proxy: it opens no tunnel to anywhere. CONNECT to a name that takeover serves is answered
// by the gateway itself, inside; everything else is refused, with the sentence where proxies' clients look for it.

#pragma once

#include "gateway/front/exchange.h"

enum { CONNECT_PHRASE_MAX = 200 };

/// Is this a request as a proxy gets them, and does the listener hear those?
bool connect_wanted(const struct exchange *ex);

/// Answer it.
void connect_start(struct exchange *ex);

/// `sentence` as a reason phrase: printable ASCII, at most CONNECT_PHRASE_MAX bytes and a NUL into `out`.
void connect_phrase(const char *sentence, char out[CONNECT_PHRASE_MAX + 1]);
