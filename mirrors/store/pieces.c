// SPDX-License-Identifier: Apache-2.0
//
// Pieces: content that is held, as an open file or as bytes in memory; immutable, counted by reference.
//
// The last reference may go on a front loop, and closing a file that has lost its name frees its blocks, which takes
// long: such descriptors are laid down for the keeper to close. Pieces may outlive the store.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct piece {
    atomic_int refs;
    atomic_int fd; // -1: none yet; then `bytes` is there.
    atomic_bool nameless;
    atomic_llong noted; // When a use was last noted.
    uint64_t size;
    char *bytes;
    struct graves *graves;
    char digest[DIGEST_TEXT_MAX + 1];
};

struct graves {
    pthread_mutex_t lock;
    unsigned refs;
    bool open; // Somebody comes to close them.
    int *fds;
    size_t count, cap;
};

// --- graves ---

struct graves *graves_new(void) {
    struct graves *g = mem_zalloc(1, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    g->refs = 1;
    g->open = true;
    return g;
}

static void graves_ref(struct graves *g) {
    pthread_mutex_lock(&g->lock);
    g->refs++;
    pthread_mutex_unlock(&g->lock);
}

static void graves_unref(struct graves *g) {
    pthread_mutex_lock(&g->lock);
    bool last = --g->refs == 0;
    pthread_mutex_unlock(&g->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&g->lock);
    free(g->fds);
    free(g);
}

bool graves_lay(struct graves *g, int fd) {
    pthread_mutex_lock(&g->lock);
    bool open = g->open;
    if (open && g->count == g->cap) {
        g->cap = g->cap == 0 ? 16 : 2 * g->cap;
        g->fds = mem_resize(g->fds, g->cap, sizeof *g->fds);
    }
    if (open)
        g->fds[g->count++] = fd;
    pthread_mutex_unlock(&g->lock);
    return open;
}

void graves_clear(struct graves *g) {
    pthread_mutex_lock(&g->lock);
    int *fds = g->fds;
    size_t count = g->count;
    g->fds = NULL;
    g->count = g->cap = 0;
    pthread_mutex_unlock(&g->lock);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    free(fds);
}

void graves_close(struct graves *g) {
    pthread_mutex_lock(&g->lock);
    g->open = false;
    pthread_mutex_unlock(&g->lock);
    graves_clear(g);
    graves_unref(g);
}

// --- pieces ---

struct piece *piece_new(struct graves *g, const char *digest, uint64_t size, int fd, char *bytes) {
    struct piece *p = mem_zalloc(1, sizeof *p);
    atomic_init(&p->refs, 1);
    atomic_init(&p->fd, fd);
    p->size = size;
    p->bytes = bytes;
    p->graves = g;
    graves_ref(g);
    strncpy(p->digest, digest, DIGEST_TEXT_MAX);
    return p;
}

struct piece *piece_ref(struct piece *p) {
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

static void piece_free(struct piece *p) {
    int fd = atomic_load(&p->fd);
    if (fd >= 0 && !(atomic_load(&p->nameless) && graves_lay(p->graves, fd)))
        close(fd);
    graves_unref(p->graves);
    free(p->bytes);
    free(p);
}

void piece_unref(struct piece *p) {
    if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        piece_free(p);
}

const char *piece_digest(const struct piece *p) {
    return p->digest;
}

uint64_t piece_size(const struct piece *p) {
    return p->size;
}

const char *piece_bytes(const struct piece *p) {
    return p->bytes;
}

// Small content is kept without a descriptor; the rare one who wants one all the same gets a file in memory.
static int make_fd(const struct piece *p) {
    int fd = memfd_create("piece", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    if (pwrite(fd, p->bytes, p->size, 0) == (ssize_t)p->size)
        return fd;
    close(fd);
    return -1;
}

int piece_fd(const struct piece *p) {
    struct piece *own = (struct piece *)(uintptr_t)p; // The descriptor is a cache; the piece is as immutable as before.
    int fd = atomic_load(&own->fd);
    if (fd >= 0 || p->bytes == NULL)
        return fd;
    int made = make_fd(p);
    if (made < 0 || atomic_compare_exchange_strong(&own->fd, &fd, made))
        return made;
    close(made);
    return fd;
}

void piece_nameless(struct piece *p) {
    atomic_store(&p->nameless, true);
}

bool piece_use(struct piece *p, int64_t now) {
    long long noted = atomic_load_explicit(&p->noted, memory_order_relaxed);
    if (now - noted < STORE_RECENT_S / 2)
        return false;
    atomic_store_explicit(&p->noted, now, memory_order_relaxed);
    return true;
}
