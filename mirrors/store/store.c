// SPDX-License-Identifier: Apache-2.0
//
// The store's face: opening and closing, settings, figures, and telling its operator.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SENTENCE_MAX = 1024 };

int64_t store_now(void) {
    return (int64_t)time(NULL);
}

struct store_settings store_settings_now(struct store *s) {
    pthread_mutex_lock(&s->settings_lock);
    struct store_settings now = s->settings;
    pthread_mutex_unlock(&s->settings_lock);
    return now;
}

void store_tell(struct store *s, const char *event, const char *format, ...) {
    char sentence[SENTENCE_MAX];
    struct store_settings now = store_settings_now(s);
    if (now.event == NULL)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    now.event(now.ctx, event, sentence);
}

// --- making and unmaking ---

static void copy_settings(struct store *s, const struct store_settings *settings) {
    s->settings = *settings;
    s->settings.directory = s->directory;
    if (s->settings.min_free > 99)
        s->settings.min_free = 99;
}

// Names that no other process, before or beside, gives its temporary files.
static void choose_instance(struct store *s) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint64_t)store_now() << 24 ^ (uint64_t)getpid();
    snprintf(s->instance, sizeof s->instance, "%016llx", (unsigned long long)random);
}

static struct store *make(const struct store_settings *settings) {
    struct store *s = mem_zalloc(1, sizeof *s);
    s->directory = mem_strdup(settings->directory);
    s->dir = s->lock = -1;
    s->read_only = settings->read_only;
    pthread_mutex_init(&s->settings_lock, NULL);
    pthread_mutex_init(&s->names, NULL);
    copy_settings(s, settings);
    choose_instance(s);
    s->facts = facts_new();
    s->graves = graves_new();
    readers_init(&s->readers);
    return s;
}

static void unmake(struct store *s) {
    readers_deinit(&s->readers);
    facts_free(s->facts);
    graves_close(s->graves);
    if (s->dir >= 0)
        lock_give(s->dir, s->lock);
    pthread_mutex_destroy(&s->names);
    pthread_mutex_destroy(&s->settings_lock);
    free(s->directory);
    free(s);
}

// --- opening ---

// Where only reading is asked for, nothing is mended: a damaged index is refused.
static bool open_for_reading(struct store *s, struct err *err) {
    struct stat st;
    if (fstatat(s->dir, STORE_INDEX_NAME, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) {
        readers_set(s, STANDING_NONE, false); // Nothing was ever kept here.
        return true;
    }
    char *path = mem_printf("%s/%s", s->directory, STORE_INDEX_NAME);
    struct index *i = NULL;
    enum index_result r = index_open(path, INDEX_READ, false, &i, err);
    bool unclean = r == INDEX_OK && index_is_unclean(i);
    index_close(i);
    i = NULL;
    if (unclean)
        r = index_open(path, INDEX_READ, true, &i, err);
    index_close(i);
    free(path);
    if (r != INDEX_OK)
        return r == INDEX_DAMAGED
                   ? err_prefix(err, "%s is damaged; the gateway sets it aside when it starts: ", s->directory)
                   : false;
    readers_set(s, STANDING_READY, false);
    return true;
}

// A disk that cannot be written just now is no reason not to start; an index that this program must not touch is.
static bool open_for_writing(struct store *s, struct err *err) {
    struct stat st;
    // SQLite takes an empty file for a new database.
    bool aside = false, made = fstatat(s->dir, STORE_INDEX_NAME, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size == 0;
    struct index *i = NULL;
    bool prepared = files_prepare(s, err);
    if (prepared)
        i = aside_open(s, false, &aside, err);
    if (i == NULL && health_probe(s))
        return false;
    bool unclean = i != NULL && index_is_unclean(i);
    s->keeper = keeper_new(s, i, unclean, aside || made);
    if (i == NULL)
        health_failed_index(s, err == NULL ? "it cannot be opened" : err->text);
    return true;
}

static bool start_threads(struct store *s, struct err *err) {
    s->workers = workers_new();
    if (s->workers == NULL)
        return err_set(err, "%s: no threads for the store", s->directory);
    if (s->keeper == NULL || keeper_start(s->keeper))
        return true;
    workers_free(s->workers);
    s->workers = NULL;
    return err_set(err, "%s: no thread for the store", s->directory);
}

static bool open_index_and_start(struct store *s, struct err *err) {
    if (s->read_only ? !open_for_reading(s, err) : !open_for_writing(s, err))
        return false;
    if (start_threads(s, err))
        return true;
    keeper_free(s->keeper, false);
    s->keeper = NULL;
    return false;
}

struct store *store_open(const struct store_settings *settings, struct err *err) {
    struct store *s = make(settings);
    struct err own = {0};
    if (err == NULL)
        err = &own;
    if (lock_take(s->directory, s->read_only, &s->dir, &s->lock, &s->in_memory_fs, err)) {
        health_measure(s);
        if (open_index_and_start(s, err))
            return s;
    }
    unmake(s);
    return NULL;
}

void store_close(struct store *s) {
    if (s == NULL)
        return;
    workers_free(s->workers);
    keeper_free(s->keeper, true);
    s->keeper = NULL;
    unmake(s);
}

void store_reconfigure(struct store *s, const struct store_settings *settings) {
    pthread_mutex_lock(&s->settings_lock);
    copy_settings(s, settings);
    pthread_mutex_unlock(&s->settings_lock);
    keeper_evict_anew(s);
}

const char *store_directory(const struct store *s) {
    return s->directory;
}

bool store_work(struct store *s, void (*work)(void *ctx), void *ctx) {
    return workers_put(s->workers, false, work, ctx);
}

void store_settle(struct store *s) {
    if (s->workers != NULL)
        workers_settle(s->workers);
}

bool store_writable(struct store *s) {
    return !s->read_only && !atomic_load(&s->failing) && !atomic_load(&s->full);
}

// --- figures ---

static uint64_t figure(const atomic_llong *n) {
    long long v = atomic_load(n);
    return v > 0 ? (uint64_t)v : 0;
}

void store_stats(struct store *s, struct store_stats *out) {
    *out = (struct store_stats){
        .bytes = figure(&s->blob_bytes) + figure(&s->writing_bytes) + atomic_load(&s->index_bytes),
        .max_size = store_settings_now(s).max_size,
        .pieces = atomic_load(&s->pieces),
        .tags = atomic_load(&s->tags),
        .repositories = atomic_load(&s->repositories),
        .evicted = atomic_load(&s->evicted),
        .evicted_bytes = atomic_load(&s->evicted_bytes),
        .write_errors = atomic_load(&s->write_errors),
        .refused = atomic_load(&s->refused),
        .notes_dropped = atomic_load(&s->notes_dropped),
        .file_system_free = atomic_load(&s->file_system_free),
        .writable = store_writable(s),
    };
}
