// SPDX-License-Identifier: Apache-2.0
//
// A libcurl multi handle driven by epoll: a turn costs what has happened, not how many transfers there are.
//
// Belongs to one fetch thread; only multi_wake() may be called from others.

#pragma once

#include "mirrors/base/err.h"

#include <curl/curl.h>

struct multi;

/// `connections` are kept open for reuse.
struct multi *multi_new(long connections, struct err *err);
void multi_free(struct multi *m);

/// For curl_multi_add_handle() and curl_multi_remove_handle().
CURLM *multi_handle(struct multi *m);

/// Whom its transfers must not ask; it must outlive the handle. NULL (as at first): whoever.
struct self;
void multi_set_self(struct multi *m, struct self *self);
struct self *multi_self(const struct multi *m);

/// Its connections' sockets, told by whoever opens and closes them.
void multi_opened(struct multi *m, int fd);
void multi_closed(struct multi *m, int fd);

/// The socket bound to this local port; -1: none of ours.
int multi_find(const struct multi *m, int local_port);

/// Wait for at most `max_wait_ms` for something to do, and do it. Finished handles are told to `finished`. Returns how
/// many descriptors had something.
int multi_turn(struct multi *m, int max_wait_ms, void (*finished)(CURL *easy, CURLcode code));

/// End a wait, now or the next. Any thread.
void multi_wake(struct multi *m);
