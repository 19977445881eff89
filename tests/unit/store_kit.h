// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the store share: a directory of their own, content by number, and waiting. One thread.

#pragma once

#include "mirrors/store/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum { KIT_EVENTS_MAX = 64 };

#define KIT_REPOSITORY "docker.io", "library/alpine"

/// What the store told its operator.
struct kit_events {
    pthread_mutex_t lock; ///< All zeros will do.
    unsigned count;
    char event[KIT_EVENTS_MAX][32];
    char sentence[KIT_EVENTS_MAX][512];
};

/// A fresh directory in `parent` (NULL: the temporary one); freed and removed by kit_remove().
char *kit_directory(const char *parent);
void kit_remove(char *directory);

struct store_settings kit_settings(const char *directory, struct kit_events *events);
struct store *kit_open(const struct store_settings *settings);

/// How many times `event` was told.
unsigned kit_told(struct kit_events *events, const char *event);

/// Content number `n` of `len` bytes, and its digest; the content is the caller's.
char *kit_content(unsigned n, size_t len, char digest[DIGEST_TEXT_MAX + 1]);

/// Put content into the store, as a fill does. NULL: it was not taken.
struct piece *kit_put(struct store *s, unsigned n, size_t len, const char *media_type);

/// Are the piece's bytes content number `n` of `len` bytes?
bool kit_is(struct piece *p, unsigned n, size_t len);

/// The file of a digest.
char *kit_path(const char *directory, const char *digest);

/// Until `*value` reaches `at_least`, or some seconds pass.
bool kit_wait(const atomic_uint *value, unsigned at_least);
void kit_sleep_ms(unsigned ms);

/// Facts by a look, then by recall; the piece is the caller's.
struct store_facts kit_look(struct store *s, unsigned n, size_t len);
