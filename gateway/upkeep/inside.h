// SPDX-License-Identifier: Apache-2.0
//
// The inside of gateway/upkeep/: what its files share. Nobody else includes this.

#pragma once

#include "gateway/upkeep/upkeep.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"

#include <pthread.h>

/// One command on its way.
struct task {
    const struct upkeep *upkeep;
    const struct json *request;
    struct config *config;
    int fd;
    upkeep_say_fn say;
    void *ctx;
    bool deaf;      ///< Nobody listens any more.
    bool failed;    ///< Something of it did not work: the end says so.
    bool unusable;  ///< It failed as it is not worded as it has to be.
    struct err end; ///< The end's sentence.
};

/// The nth of the request's "words"; NULL past the last.
const char *task_word(const struct task *t, size_t n);

/// Say one line. False (now and from then on): nobody listens.
bool task_say(struct task *t, struct buf *line);

/// A line to be filled: {"KIND": {
void line_begin(struct buf *b, const char *kind);
void line_string(struct buf *b, const char *key, const char *value); ///< Left out where it is "" or NULL.
void line_number(struct buf *b, const char *key, uint64_t value);
void line_boolean(struct buf *b, const char *key, bool value);
void line_end(struct buf *b);

/// Progress: `done` of `all` bytes of what.
bool task_progress(struct task *t, const char *what, uint64_t done, uint64_t all);

// The commands. Each leaves its sentence in t->end.
void task_ls(struct task *t);
void task_stat(struct task *t);
void task_verify(struct task *t);
void task_rm(struct task *t);
void task_warm(struct task *t);
void task_export(struct task *t);
void task_import(struct task *t);

/// An image of today's configuration, as a request would meet it: its canonical name (`latest` where neither tag nor
/// digest is named) and, where the policy lets anyone pull it, where it is fetched from. False: `err` holds the
/// sentence of the denial or of the mistake.
struct wanted {
    struct image_name name;
    char text[IMAGE_TEXT_MAX + 1];
    struct content_place place;
};
bool task_want(struct task *t, const char *text, bool decide, struct wanted *out, struct err *err);

/// May this digest of an image that is permitted be pulled? `tag`: what the digest was asked as, so that a rule that
/// denies the digest is met now that it is known. `tag` NULL: something that the image names, which only a rule that
/// speaks of this very digest denies.
bool task_permits(struct task *t, const struct wanted *w, const char *tag, const char *digest, struct err *err);

/// A place in the same registry and repository with a fresh deadline.
struct content_place task_place(struct task *t, const struct registry *registry, const char *name,
                                const char *repository);

// waiting.c: the content's callbacks, waited for.

/// A manifest by tag or digest, with a reference for the caller; NULL: `err`.
struct manifest *wait_manifest(struct task *t, const struct content_place *place, const char *tag, const char *digest,
                               struct err *err);

/// Blobs of one image, WAIT_PARALLEL at a time, read to their end so that the store has them.
enum { WAIT_PARALLEL = 3 };
struct wait_blob {
    const char *digest;
    uint64_t size;
    bool ok, hit;
    struct err err;
};

/// `progress` is called now and then with the bytes that are there. False from it ends it.
void wait_blobs(struct task *t, const struct content_place *place, struct wait_blob *blobs, size_t count,
                bool (*progress)(void *ctx, uint64_t done), void *ctx);

// platforms.c

/// Is the entry of this index (its JSON) that has `digest` for one of the platforms of the request ("linux/amd64",
/// "linux/arm/v7")? None given: every entry is. An entry for no platform ("unknown/unknown": attestations; or nothing
/// said) goes along only then.
bool platform_wanted(const struct task *t, const struct json *index, const char *digest);
