// SPDX-License-Identifier: Apache-2.0
//
// import: images from an OCI image layout in a tar, each digest verified. Whoever may write the store vouches for what
// a repository holds here, as its upstream does otherwise.
//
// The file is read several times, since its order is anybody's: first the index, then one level of manifests at a time,
// then everything else, streamed into the store.

#include "gateway/upkeep/layout.h"

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"
#include "mirrors/upstream/target.h"

#include <archive.h>
#include <archive_entry.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HOMES_MAX = 64 };

/// Whose a digest is: an image may be there under several names.
struct home {
    char registry[REGISTRY_MAX + 1];
    char repository[REPOSITORY_MAX + 1];
};

/// Something that the layout is to hold.
struct part {
    char digest[DIGEST_TEXT_MAX + 1];
    char media_type[MEDIA_TYPE_MAX + 1]; ///< "" for blobs.
    bool manifest;
    int depth;
    bool read;     ///< A manifest: its document was read.
    bool kept;     ///< In the store.
    bool required; ///< An image without it is none: what is named by an image's manifest, and the images themselves.
    struct home *homes;
    size_t home_count;
};

struct tag {
    struct home home;
    char tag[TAG_MAX + 1];
    char digest[DIGEST_TEXT_MAX + 1];
};

struct unpacking {
    struct task *task;
    struct lru *parts; ///< By digest.
    size_t unread;     ///< Manifests that wait to be read.
    size_t reads;      ///< Manifests that were.
    struct tag *tags;
    size_t tag_count;
    uint64_t done, all;
    struct err err;
};

/// For each entry of the tar; false ends the walk (`u->err`, or nothing more is wanted).
typedef bool (*entry_fn)(struct unpacking *u, struct archive *tar, const char *path, uint64_t size);

static bool walk(struct unpacking *u, entry_fn each) {
    struct archive *tar = archive_read_new();
    struct archive_entry *e;
    int result = ARCHIVE_FATAL;
    bool go_on = true;
    archive_read_support_format_tar(tar);
    if (lseek(u->task->fd, 0, SEEK_SET) == 0 && archive_read_open_fd(tar, u->task->fd, LAYOUT_PIECE) == ARCHIVE_OK)
        while (go_on && (result = archive_read_next_header(tar, &e)) == ARCHIVE_OK)
            if (archive_entry_filetype(e) == AE_IFREG && archive_entry_pathname(e) != NULL &&
                archive_entry_size(e) >= 0)
                go_on = each(u, tar, archive_entry_pathname(e), (uint64_t)archive_entry_size(e));
    bool ok = !go_on || result == ARCHIVE_EOF;
    if (!ok) {
        const char *why = archive_error_string(tar);
        err_set(&u->err, "this is not a file that can be read as a tar%s%s", why != NULL ? ": " : "",
                why != NULL ? why : "");
    }
    archive_read_free(tar);
    return ok && u->err.text[0] == '\0';
}

static char *read_text(struct unpacking *u, struct archive *tar, const char *path, uint64_t size, uint64_t max) {
    if (size > max) {
        err_set(&u->err, "%s is over %llu bytes", path, (unsigned long long)max);
        return NULL;
    }
    char *text = mem_alloc((size_t)size + 1);
    if (archive_read_data(tar, text, (size_t)size) != (la_ssize_t)size) {
        err_set(&u->err, "%s ends early", path);
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

// --- parts ---

static bool same_home(const struct home *a, const struct home *b) {
    return strcmp(a->registry, b->registry) == 0 && strcmp(a->repository, b->repository) == 0;
}

static bool add_home(struct part *p, const struct home *h) {
    for (size_t i = 0; i < p->home_count; i++)
        if (same_home(&p->homes[i], h))
            return true;
    if (p->home_count == HOMES_MAX)
        return false;
    p->homes = mem_resize(p->homes, p->home_count + 1, sizeof(*p->homes));
    p->homes[p->home_count++] = *h;
    return true;
}

static void part_free(void *value) {
    struct part *p = value;
    free(p->homes);
    free(p);
}

static struct part *add_part(struct unpacking *u, const char *digest, bool manifest, const char *media_type,
                             int depth) {
    struct part *p = lru_get(u->parts, digest, strlen(digest));
    if (p != NULL)
        return p;
    if (lru_count(u->parts) == LAYOUT_ENTRIES_MAX || depth > LAYOUT_DEPTH_MAX) {
        err_set(&u->err, "it names more, or nests deeper, than images do");
        return NULL;
    }
    p = mem_zalloc(1, sizeof(*p));
    snprintf(p->digest, sizeof(p->digest), "%s", digest);
    snprintf(p->media_type, sizeof(p->media_type), "%s", manifest && media_type != NULL ? media_type : "");
    p->manifest = manifest;
    p->depth = depth;
    u->unread += manifest;
    lru_put(u->parts, digest, strlen(digest), p, 0);
    return p;
}

static bool add_homes(struct unpacking *u, struct part *to, const struct part *from) {
    for (size_t i = 0; i < from->home_count; i++)
        if (!add_home(to, &from->homes[i]))
            return err_set(&u->err, "%s is there under more than %d names", to->digest, (int)HOMES_MAX);
    return true;
}

// --- the layout's index ---

static bool find_name(struct unpacking *u, const struct json *entry, struct image_name *out) {
    const struct json *notes = json_get(entry, "annotations");
    const char *full = json_get_string(notes, layout_name_key), *tag = json_get_string(notes, layout_tag_key);
    const char *as = json_get_string(u->task->request, "as");
    char text[IMAGE_TEXT_MAX + 1];
    if (as != NULL) {
        if (tag != NULL && name_tag_valid(tag, strlen(tag)))
            snprintf(text, sizeof(text), "%s:%s", as, tag);
        else
            snprintf(text, sizeof(text), "%s", as);
        full = text;
    } else if (full == NULL && tag != NULL && strchr(tag, '/') != NULL) {
        full = tag; // Some tools write the whole name there.
    }
    if (full == NULL)
        return err_set(&u->err, "an image in it has no full name: say --as REGISTRY/REPOSITORY");
    return name_parse(full, u->task->config->default_registry, out, &u->err);
}

static bool add_tag(struct unpacking *u, const struct image_name *name, const struct home *home, const char *digest) {
    if (name->tag[0] == '\0')
        return true;
    u->tags = mem_resize(u->tags, u->tag_count + 1, sizeof(*u->tags));
    struct tag *t = &u->tags[u->tag_count++];
    t->home = *home;
    memcpy(t->tag, name->tag, sizeof(t->tag));
    snprintf(t->digest, sizeof(t->digest), "%s", digest);
    return true;
}

static bool read_entry(struct unpacking *u, const struct json *entry) {
    struct image_name name;
    struct home home;
    enum digest_algorithm algorithm;
    const char *digest = json_get_string(entry, "digest");
    if (digest == NULL || digest_check(digest, strlen(digest), &algorithm) != DIGEST_OK)
        return err_set(&u->err, "index.json: an entry without a digest that can be verified");
    if (!find_name(u, entry, &name))
        return false;
    struct part *p = add_part(u, digest, true, json_get_string(entry, "mediaType"), 0);
    memcpy(home.registry, name.registry, sizeof(home.registry));
    memcpy(home.repository, name.repository, sizeof(home.repository));
    if (p == NULL || !add_home(p, &home))
        return false;
    p->required = true;
    return add_tag(u, &name, &home, digest);
}

static bool read_index(struct unpacking *u, struct archive *tar, const char *path, uint64_t size) {
    if (strcmp(path, "index.json") != 0 && strcmp(path, "./index.json") != 0)
        return true;
    char *text = read_text(u, tar, path, size, LAYOUT_INDEX_MAX);
    struct json *root = text != NULL ? json_parse(text, (size_t)size, JSON_STRICT, &u->err) : NULL;
    const struct json *list = json_get(root, "manifests");
    if (root != NULL && (list == NULL || list->type != JSON_ARRAY || list->count == 0))
        err_set(&u->err, "index.json names no images");
    for (const struct json *e = list != NULL ? list->child : NULL; e != NULL && u->err.text[0] == '\0'; e = e->next)
        read_entry(u, e);
    json_free(root);
    free(text);
    return false; // There is one.
}

// --- manifests ---

static struct part *part_of(struct unpacking *u, const char *path) {
    char digest[DIGEST_TEXT_MAX + 1];
    return layout_digest(path, digest) ? lru_get(u->parts, digest, strlen(digest)) : NULL;
}

static bool is_digest_of(const char *digest, const char *data, size_t len) {
    enum digest_algorithm algorithm = DIGEST_SHA256;
    char computed[DIGEST_TEXT_MAX + 1];
    digest_check(digest, strlen(digest), &algorithm);
    digest_of(algorithm, data, len, computed);
    return strcmp(computed, digest) == 0;
}

static bool add_children(struct unpacking *u, const struct part *p, const struct document *d) {
    for (size_t i = 0; i < d->count; i++) {
        const struct descriptor *c = &d->descriptors[i];
        bool manifest = c->role == ROLE_MANIFEST;
        struct part *child = add_part(u, c->digest, manifest, c->media_type, manifest ? p->depth + 1 : p->depth);
        if (child == NULL || !add_homes(u, child, p))
            return false;
        child->required = child->required || d->kind == DOCUMENT_MANIFEST;
    }
    return true;
}

static void remember_links(struct unpacking *u, const struct part *p, const struct document *d) {
    struct links *links = content_links(u->task->upkeep->content);
    for (size_t i = 0; i < p->home_count; i++)
        links_document(links, p->homes[i].registry, p->homes[i].repository, p->digest, d);
}

static bool read_manifest(struct unpacking *u, struct archive *tar, const char *path, uint64_t size) {
    struct document d;
    struct part *p = part_of(u, path);
    if (p == NULL || !p->manifest || p->read)
        return true;
    char *text = read_text(u, tar, path, size, DOCUMENT_SIZE_MAX);
    if (text == NULL)
        return false;
    const struct registry *registry = config_registry(u->task->config, p->homes[0].registry);
    bool ok = is_digest_of(p->digest, text, (size_t)size) || err_set(&u->err, "%s is not what its name says", path);
    if (ok && document_judge(text, (size_t)size, p->media_type[0] != '\0' ? p->media_type : NULL,
                             registry != NULL ? registry_url_permitted : NULL, (void *)registry, &d,
                             &u->err) == DOCUMENT_OK) {
        p->read = true;
        u->unread--;
        u->reads++;
        memcpy(p->media_type, d.media_type, sizeof(p->media_type));
        add_children(u, p, &d);
        remember_links(u, p, &d);
        document_deinit(&d);
    } else if (ok) {
        err_prefix(&u->err, "%s: ", p->digest);
    }
    free(text);
    return u->err.text[0] == '\0';
}

/// Level by level, until a walk finds none that it had not read: what is named and not in the file is left out.
static bool read_manifests(struct unpacking *u) {
    size_t before;
    do {
        before = u->reads;
        if (!walk(u, read_manifest))
            return false;
    } while (u->unread > 0 && u->reads > before);
    return true;
}

// --- into the store ---

struct landing {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool ended, kept;
};

static void landed(void *ctx, struct piece *piece) {
    struct landing *l = ctx;
    pthread_mutex_lock(&l->lock);
    l->ended = true;
    l->kept = piece != NULL;
    pthread_cond_signal(&l->done);
    pthread_mutex_unlock(&l->lock);
    piece_unref(piece);
}

static bool commit(struct store_file *f, const struct part *p) {
    struct landing l = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    store_file_commit(f, p->homes[0].registry, p->homes[0].repository, p->media_type, landed, &l);
    pthread_mutex_lock(&l.lock);
    while (!l.ended)
        pthread_cond_wait(&l.done, &l.lock);
    pthread_mutex_unlock(&l.lock);
    pthread_cond_destroy(&l.done);
    pthread_mutex_destroy(&l.lock);
    return l.kept;
}

static bool copy_entry(struct unpacking *u, struct archive *tar, struct store_file *f, struct digest_hasher *hasher) {
    char *buffer = mem_alloc(LAYOUT_PIECE);
    la_ssize_t n;
    bool ok = true;
    while (ok && (n = archive_read_data(tar, buffer, LAYOUT_PIECE)) != 0) {
        if (n < 0) {
            ok = err_set(&u->err, "the file cannot be read to its end");
            break;
        }
        digest_hasher_add(hasher, buffer, (size_t)n);
        u->done += (uint64_t)n;
        ok = store_file_write(f, buffer, (size_t)n) || err_set(&u->err, "the store takes no more now (see the log)");
        if (ok && !task_progress(u->task, "imported", u->done, u->all))
            ok = err_set(&u->err, "it was interrupted");
    }
    free(buffer);
    return ok;
}

static bool take_in(struct unpacking *u, struct archive *tar, const struct part *p, uint64_t size) {
    enum digest_algorithm algorithm = DIGEST_SHA256;
    char computed[DIGEST_TEXT_MAX + 1];
    digest_check(p->digest, strlen(p->digest), &algorithm);
    struct store_file *f = store_file_new(u->task->upkeep->store, p->digest, size);
    if (f == NULL)
        return err_set(&u->err, "the store takes nothing now: full, or its disk fails (see the log)");
    struct digest_hasher *hasher = digest_hasher_new(algorithm);
    bool ok = copy_entry(u, tar, f, hasher);
    digest_hasher_end(hasher, computed);
    digest_hasher_free(hasher);
    if (ok && strcmp(computed, p->digest) != 0)
        ok = err_set(&u->err, "%s in the file is not what its name says", p->digest);
    if (!ok) {
        store_file_drop(f);
        return false;
    }
    return commit(f, p) || err_set(&u->err, "%s could not be kept (see the log)", p->digest);
}

static void note_homes(struct unpacking *u, const struct part *p) {
    struct store *store = u->task->upkeep->store;
    int64_t now = (int64_t)time(NULL);
    for (size_t i = 0; i < p->home_count; i++) {
        store_note_delivered(store, p->homes[i].registry, p->digest);
        store_note_confirmed(store, p->homes[i].registry, p->homes[i].repository, p->digest, now);
    }
}

static bool keep(struct unpacking *u, struct archive *tar, const char *path, uint64_t size) {
    struct part *p = part_of(u, path);
    if (p == NULL || p->kept)
        return true;
    if (!take_in(u, tar, p, size))
        return false;
    p->kept = true;
    note_homes(u, p);
    return true;
}

static bool count_bytes(struct unpacking *u, struct archive *tar, const char *path, uint64_t size) {
    (void)tar;
    u->all += part_of(u, path) != NULL ? size : 0;
    return true;
}

/// A tag only where its manifest is.
static size_t note_tags(struct unpacking *u) {
    size_t noted = 0;
    struct upkeep const *k = u->task->upkeep;
    for (size_t i = 0; i < u->tag_count; i++) {
        const struct tag *t = &u->tags[i];
        const struct part *p = lru_peek(u->parts, t->digest, strlen(t->digest));
        struct store_tag fact = {.confirmed = (int64_t)time(NULL)};
        if (p == NULL || !p->kept)
            continue;
        memcpy(fact.digest, p->digest, sizeof(fact.digest));
        memcpy(fact.media_type, p->media_type, sizeof(fact.media_type));
        store_note_tag(k->store, t->home.registry, t->home.repository, t->tag, &fact);
        links_tag(content_links(k->content), t->home.registry, t->home.repository, t->tag, t->digest);
        noted++;
    }
    return noted;
}

static bool find_missing(void *ctx, const void *key, size_t key_len, void *value) {
    struct unpacking *u = ctx;
    const struct part *p = value;
    (void)key, (void)key_len;
    if (p->required && !p->kept)
        err_set(&u->err, "%s is named in it, and is not there", p->digest);
    return u->err.text[0] == '\0';
}

static bool is_whole(struct unpacking *u) {
    lru_each(u->parts, find_missing, u);
    return u->err.text[0] == '\0';
}

static bool unpack(struct unpacking *u) {
    if (!walk(u, read_index))
        return false;
    if (lru_count(u->parts) == 0)
        return err_set(&u->err, "it has no index.json: this is no OCI image layout");
    return read_manifests(u) && walk(u, count_bytes) && walk(u, keep) && is_whole(u);
}

void task_import(struct task *t) {
    struct unpacking u = {.task = t};
    if (t->fd < 0) {
        t->failed = true;
        err_set(&t->end, "no file was handed over");
        return;
    }
    u.parts = lru_new(LAYOUT_ENTRIES_MAX + 1, 0, part_free);
    t->failed = !unpack(&u);
    if (t->failed)
        t->end = u.err;
    else
        err_set(&t->end, "%zu images of it can be pulled", note_tags(&u));
    lru_free(u.parts);
    free(u.tags);
}
