// SPDX-License-Identifier: Apache-2.0
//
// export: images that are held, as an OCI image layout in a tar.
//
// Of an index the entries go along that are held; an image manifest goes with all that it names or not at all.

#include "gateway/upkeep/layout.h"

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"
#include "mirrors/upstream/target.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct packing {
    struct task *task;
    struct archive *tar;
    struct lru *packed; ///< Digests that are in the tar.
    struct buf index;   ///< The layout's index.json.
    size_t images, missing;
};

/// One image on its way into the tar.
struct image {
    struct packing *packing;
    struct wanted wanted;
    struct err err;
};

// --- the tar ---

static bool tar_failed(struct packing *p, struct err *err) {
    const char *why = archive_error_string(p->tar);
    return err_set(err, "the file cannot be written: %s", why != NULL ? why : "no more is known");
}

static bool write_header(struct packing *p, const char *path, uint64_t size, struct err *err) {
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, path);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_size(e, (la_int64_t)size);
    archive_entry_set_mtime(e, 0, 0); // The same images make the same file.
    int result = archive_write_header(p->tar, e);
    archive_entry_free(e);
    return result == ARCHIVE_OK || tar_failed(p, err);
}

static bool write_data(struct packing *p, const void *data, size_t len, struct err *err) {
    return archive_write_data(p->tar, data, len) == (la_ssize_t)len || tar_failed(p, err);
}

static bool write_text(struct packing *p, const char *path, const char *text, size_t len, struct err *err) {
    return write_header(p, path, len, err) && write_data(p, text, len, err);
}

static bool copy_piece(struct packing *p, struct piece *piece, struct err *err) {
    char *buffer = mem_alloc(LAYOUT_PIECE);
    uint64_t size = piece_size(piece), at = 0;
    bool ok = true;
    while (ok && at < size) {
        ssize_t n = pread(piece_fd(piece), buffer, LAYOUT_PIECE, (off_t)at);
        if (n <= 0)
            ok = err_set(err, "%s cannot be read", piece_digest(piece));
        else
            ok = write_data(p, buffer, (size_t)n, err);
        at += n > 0 ? (uint64_t)n : 0;
    }
    free(buffer);
    return ok;
}

static bool pack_piece(struct packing *p, struct piece *piece, struct err *err) {
    char path[DIGEST_TEXT_MAX + 16];
    const char *digest = piece_digest(piece);
    if (lru_peek(p->packed, digest, strlen(digest)) != NULL)
        return true;
    if (p->task->deaf)
        return err_set(err, "it was interrupted");
    lru_put(p->packed, digest, strlen(digest), p, 0);
    layout_path(digest, path);
    return write_header(p, path, piece_size(piece), err) && copy_piece(p, piece, err);
}

// --- images ---

static struct piece *find_piece(struct image *i, const char *digest, char *media_type) {
    struct store_facts facts;
    store_look(i->packing->task->upkeep->store, i->wanted.name.registry, i->wanted.name.repository, digest, &facts);
    memcpy(media_type, facts.media_type, sizeof(facts.media_type));
    if (facts.piece == NULL || (facts.confirmed != 0 && facts.delivered))
        return facts.piece;
    piece_unref(facts.piece); // Of another repository: not this one's to give.
    return NULL;
}

static bool not_held(struct image *i, const char *digest) {
    return err_set(&i->err, "%s of it is not held: `pullgate store warm` fetches it", digest);
}

static bool pack_blob(struct image *i, const char *digest) {
    char media_type[MEDIA_TYPE_MAX + 1];
    struct piece *piece = find_piece(i, digest, media_type);
    if (piece == NULL)
        return not_held(i, digest);
    bool ok = pack_piece(i->packing, piece, &i->err);
    piece_unref(piece);
    return ok;
}

/// Read and judge a manifest that is held.
static bool read_document(struct image *i, struct piece *piece, const char *media_type, struct document *out) {
    uint64_t size = piece_size(piece);
    if (size > DOCUMENT_SIZE_MAX)
        return err_set(&i->err, "%s is too large for a manifest", piece_digest(piece));
    char *text = mem_alloc((size_t)size + 1);
    bool ok = pread(piece_fd(piece), text, (size_t)size, 0) == (ssize_t)size ||
              err_set(&i->err, "%s cannot be read", piece_digest(piece));
    const struct registry *registry = config_registry(i->packing->task->config, i->wanted.name.registry);
    if (ok)
        ok = document_judge(text, (size_t)size, media_type[0] != '\0' ? media_type : NULL,
                            registry != NULL ? registry_url_permitted : NULL, (void *)registry, out,
                            &i->err) == DOCUMENT_OK;
    free(text);
    return ok;
}

static bool pack_manifest(struct image *i, const char *digest, int depth);

/// Entries that are not held are left out; one must be there.
static bool pack_entries(struct image *i, const struct document *d, int depth) {
    char media_type[MEDIA_TYPE_MAX + 1];
    size_t held = 0;
    for (size_t n = 0; n < d->count; n++) {
        struct piece *piece = find_piece(i, d->descriptors[n].digest, media_type);
        piece_unref(piece);
        if (piece == NULL) {
            i->packing->missing++;
            continue;
        }
        held++;
        bool manifest = d->descriptors[n].role == ROLE_MANIFEST;
        if (!(manifest ? pack_manifest(i, d->descriptors[n].digest, depth + 1)
                       : pack_blob(i, d->descriptors[n].digest)))
            return false;
    }
    return held > 0 || d->count == 0 || err_set(&i->err, "none of its platforms is held");
}

static bool pack_manifest(struct image *i, const char *digest, int depth) {
    char media_type[MEDIA_TYPE_MAX + 1];
    struct document d;
    if (depth > LAYOUT_DEPTH_MAX)
        return err_set(&i->err, "its indexes are nested too deep");
    struct piece *piece = find_piece(i, digest, media_type);
    if (piece == NULL)
        return not_held(i, digest);
    bool ok = read_document(i, piece, media_type, &d);
    if (ok) {
        if (d.kind == DOCUMENT_INDEX)
            ok = pack_entries(i, &d, depth);
        else
            for (size_t n = 0; ok && n < d.count; n++)
                ok = pack_blob(i, d.descriptors[n].digest);
        document_deinit(&d);
    }
    ok = ok && pack_piece(i->packing, piece, &i->err); // After what it names: a reader that stops early has no holes.
    piece_unref(piece);
    return ok;
}

static bool name_in_index(struct image *i, const char *digest) {
    char media_type[MEDIA_TYPE_MAX + 1];
    struct piece *piece = find_piece(i, digest, media_type);
    struct buf *b = &i->packing->index;
    if (piece == NULL)
        return not_held(i, digest);
    buf_addf(b, "%s{\"mediaType\":", i->packing->images > 0 ? "," : "");
    buf_add_json(b, media_type, strlen(media_type));
    buf_addf(b, ",\"digest\":\"%s\",\"size\":%llu,\"annotations\":{\"%s\":", digest,
             (unsigned long long)piece_size(piece), layout_name_key);
    buf_add_json(b, i->wanted.text, strlen(i->wanted.text));
    if (i->wanted.name.tag[0] != '\0')
        buf_addf(b, ",\"%s\":\"%s\"", layout_tag_key, i->wanted.name.tag);
    buf_adds(b, "}}");
    piece_unref(piece);
    return true;
}

static bool pack_image(struct image *i) {
    struct store_tag tag;
    const struct image_name *name = &i->wanted.name;
    const char *digest = name->digest;
    if (digest[0] == '\0') {
        if (!store_look_tag(i->packing->task->upkeep->store, name->registry, name->repository, name->tag, &tag))
            return err_set(&i->err, "it is not held: `pullgate store warm` fetches it");
        digest = tag.digest;
    }
    return pack_manifest(i, digest, 0) && name_in_index(i, digest);
}

static bool pack_all(struct packing *p, struct err *err) {
    const char *word;
    for (size_t n = 0; (word = task_word(p->task, n)) != NULL; n++) {
        struct image i = {.packing = p};
        if (!task_want(p->task, word, false, &i.wanted, &i.err) || !pack_image(&i)) {
            *err = i.err;
            err_prefix(err, "%s: ", i.wanted.text[0] != '\0' ? i.wanted.text : word);
            return false;
        }
        p->images++;
        task_progress(p->task, i.wanted.text, n + 1, n + 1);
    }
    return p->images > 0 || err_set(err, "name the images that are to be exported");
}

static bool pack(struct packing *p, struct err *err) {
    buf_adds(&p->index,
             "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[");
    if (!write_text(p, "oci-layout", layout_version, strlen(layout_version), err) || !pack_all(p, err))
        return false;
    buf_adds(&p->index, "]}");
    if (p->index.overflow)
        return err_set(err, "so many images do not go into one file");
    return write_text(p, "index.json", p->index.data, p->index.len, err) &&
           (archive_write_close(p->tar) == ARCHIVE_OK || tar_failed(p, err));
}

void task_export(struct task *t) {
    struct packing p = {.task = t};
    struct err err = {""};
    if (t->fd < 0) {
        t->failed = true;
        err_set(&t->end, "no file was handed over");
        return;
    }
    p.tar = archive_write_new();
    p.packed = lru_new(LAYOUT_ENTRIES_MAX, 0, NULL);
    buf_init(&p.index, LAYOUT_INDEX_MAX);
    archive_write_set_format_pax_restricted(p.tar);
    t->failed = archive_write_open_fd(p.tar, t->fd) != ARCHIVE_OK ? !tar_failed(&p, &err) : !pack(&p, &err);
    if (t->failed)
        t->end = err;
    else if (p.missing > 0)
        err_set(&t->end, "%zu images; %zu entries of their indexes are not held and left out", p.images, p.missing);
    else
        err_set(&t->end, "%zu images", p.images);
    archive_write_free(p.tar);
    lru_free(p.packed);
    buf_deinit(&p.index);
}
