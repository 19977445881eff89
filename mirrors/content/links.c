// SPDX-License-Identifier: Apache-2.0
//
// See links.h. Each repository is a graph of its own: nodes are tags and digests, an edge leads from what was asked or
// read (a tag, an index, a manifest, a subject) to what it named. Nodes and edges are numbers in two arrays; each edge
// stands in the list of its child's parents and in that of its parent's children, newest first. Everything here is
// under the one lock but the calls of `tag_allowed`, which happen on copied names: the callback may ask again.

#include "mirrors/content/links.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/hash.h"
#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = UINT32_MAX, KEY_MAX = REGISTRY_MAX + 1 + REPOSITORY_MAX, EDGE_SLOTS_FIRST = 16 };

struct node {
    char *name;                 // The tag, or the digest: only the latter has a ':'.
    uint32_t parents, children; // Heads of the lists of edges, or NONE.
    uint32_t newer, older;      // A tag: in the order of use, or NONE.
    uint32_t seen;              // The last walk that came here.
    uint64_t led;               // When a tag last led here, in turns of the repository.
    uint64_t skipped;           // When it could not be read, likewise; 0: never.
    int64_t skipped_ms;         // The same by the clock.
    bool tag;
    bool index;  // An index, and read.
    bool read;   // Its document was read.
    bool listed; // An index names it as a manifest.
};

struct edge {
    uint32_t parent, child;
    uint32_t next_parent; // The next edge to the same child.
    uint32_t next_child;  // The next edge from the same parent.
};

struct repository {
    struct lru *numbers; // Name to number + 1; never evicts.
    struct node *nodes;
    uint32_t node_count, node_cap;
    struct edge *edges;
    uint32_t edge_count, edge_cap;
    uint32_t *slots; // Open-addressed set of edges: number + 1, 0 is free.
    uint32_t slot_count;
    struct hash_key hash;
    uint32_t newest, oldest; // The tags, in the order of use.
    uint32_t walk;           // The number of the current walk.
    uint32_t unread;         // Nodes that wait to be read.
    uint64_t turn;           // Counts what happens, so that before and after can be told apart.
};

struct links {
    pthread_mutex_t lock;
    struct lru *repositories;
};

// --- one repository ---

static struct repository *repository_new(void) {
    struct repository *r = mem_zalloc(1, sizeof *r);
    r->numbers = lru_new(SIZE_MAX, 0, NULL);
    r->newest = r->oldest = NONE;
    r->slot_count = EDGE_SLOTS_FIRST;
    r->slots = mem_zalloc(r->slot_count, sizeof *r->slots);
    hash_key_random(&r->hash);
    return r;
}

static void repository_free(void *value) {
    struct repository *r = value;
    for (uint32_t i = 0; i < r->node_count; i++)
        free(r->nodes[i].name);
    lru_free(r->numbers);
    free(r->nodes);
    free(r->edges);
    free(r->slots);
    free(r);
}

static uint32_t node_find(const struct repository *r, const char *name) {
    uintptr_t found = (uintptr_t)lru_peek(r->numbers, name, strlen(name));
    return found == 0 ? (uint32_t)NONE : (uint32_t)(found - 1);
}

static uint32_t node_add(struct repository *r, const char *name) {
    uint32_t found = node_find(r, name);
    if (found != NONE)
        return found;
    if (r->node_count == r->node_cap) {
        r->node_cap = r->node_cap == 0 ? 8 : 2 * r->node_cap;
        r->nodes = mem_resize(r->nodes, r->node_cap, sizeof *r->nodes);
    }
    uint32_t number = r->node_count++;
    r->nodes[number] =
        (struct node){.name = mem_strdup(name), .parents = NONE, .children = NONE, .newer = NONE, .older = NONE};
    lru_put(r->numbers, name, strlen(name), (void *)((uintptr_t)number + 1), 0);
    return number;
}

// Where the edge stands or belongs in the set.
static uint32_t *edge_slot(const struct repository *r, uint32_t parent, uint32_t child) {
    uint32_t key[2] = {parent, child};
    for (uint64_t i = hash_bytes(&r->hash, key, sizeof key);; i++) {
        uint32_t *slot = &r->slots[i & (r->slot_count - 1)];
        if (*slot == 0)
            return slot;
        const struct edge *e = &r->edges[*slot - 1];
        if (e->parent == parent && e->child == child)
            return slot;
    }
}

static void grow_slots(struct repository *r) {
    free(r->slots);
    r->slot_count *= 2;
    r->slots = mem_zalloc(r->slot_count, sizeof *r->slots);
    for (uint32_t i = 0; i < r->edge_count; i++)
        *edge_slot(r, r->edges[i].parent, r->edges[i].child) = i + 1;
}

static void edge_add(struct repository *r, uint32_t parent, uint32_t child) {
    if (parent == child || *edge_slot(r, parent, child) != 0)
        return;
    if (r->edge_count == r->edge_cap) {
        r->edge_cap = r->edge_cap == 0 ? 8 : 2 * r->edge_cap;
        r->edges = mem_resize(r->edges, r->edge_cap, sizeof *r->edges);
    }
    if (2 * (r->edge_count + 1) > r->slot_count)
        grow_slots(r);
    uint32_t number = r->edge_count++;
    struct node *from = &r->nodes[parent], *to = &r->nodes[child];
    r->edges[number] =
        (struct edge){.parent = parent, .child = child, .next_parent = to->parents, .next_child = from->children};
    to->parents = from->children = number;
    *edge_slot(r, parent, child) = number + 1;
}

static void tag_unlink(struct repository *r, struct node *n) {
    *(n->newer != NONE ? &r->nodes[n->newer].older : &r->newest) = n->older;
    *(n->older != NONE ? &r->nodes[n->older].newer : &r->oldest) = n->newer;
}

// The tag is now the newest.
static void tag_used(struct repository *r, uint32_t number) {
    struct node *n = &r->nodes[number];
    if (n->tag)
        tag_unlink(r, n);
    n->tag = true;
    n->newer = NONE;
    n->older = r->newest;
    *(n->older != NONE ? &r->nodes[n->older].newer : &r->oldest) = number;
    r->newest = number;
}

static bool waits(const struct node *n) {
    return n->listed && !n->read;
}

// Change a node's marks and keep the count of those that wait.
static void mark(struct repository *r, uint32_t number, bool *flag) {
    struct node *n = &r->nodes[number];
    bool before = waits(n);
    *flag = true;
    if (waits(n) && !before)
        r->unread++;
    if (before && !waits(n))
        r->unread--;
}

static uint32_t next_walk(struct repository *r) {
    if (++r->walk == 0) { // Wrapped around: forget the old marks.
        for (uint32_t i = 0; i < r->node_count; i++)
            r->nodes[i].seen = 0;
        r->walk = 1;
    }
    return r->walk;
}

// --- the repositories ---

struct links *links_new(void) {
    struct links *l = mem_zalloc(1, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    l->repositories = lru_new(LINKS_REPOSITORIES_MAX, LINKS_EDGES_MAX, repository_free);
    return l;
}

void links_free(struct links *l) {
    if (l == NULL)
        return;
    lru_free(l->repositories);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

struct key {
    char text[KEY_MAX + 1];
    size_t len; // 0: no such names.
};

static struct key key_of(const char *registry, const char *repository) {
    struct key k;
    int len = snprintf(k.text, sizeof k.text, "%s/%s", registry, repository);
    k.len = len < 0 || (size_t)len >= sizeof k.text ? 0 : (size_t)len;
    return k;
}

static struct repository *repository_find(struct links *l, const struct key *k) {
    return k->len == 0 ? NULL : lru_get(l->repositories, k->text, k->len);
}

// Out of the table until repository_put().
static struct repository *repository_take(struct links *l, const struct key *k) {
    struct repository *r = lru_take(l->repositories, k->text, k->len);
    return r != NULL ? r : repository_new();
}

// The same repository, or a fresh one when `more` edges would be too many.
static struct repository *with_room(struct repository *r, size_t more) {
    if (r->edge_count + more <= LINKS_REPOSITORY_EDGES_MAX)
        return r;
    repository_free(r);
    return repository_new();
}

// Back with its new cost, which may push out others. An empty one is counted, too.
static void repository_put(struct links *l, const struct key *k, struct repository *r) {
    lru_put(l->repositories, k->text, k->len, r, (size_t)r->edge_count + 1);
}

// --- learning ---

static bool name_fits(const char *s, size_t max) {
    size_t len = strnlen(s, max + 1);
    return len > 0 && len <= max;
}

// Tags and digests share one table of names: they must not be mistaken for each other.
static bool is_tag(const char *s) {
    return name_fits(s, TAG_MAX) && strchr(s, ':') == NULL;
}

static bool is_digest(const char *s) {
    return name_fits(s, DIGEST_TEXT_MAX) && strchr(s, ':') != NULL;
}

// One edge between two names.
static void learn(struct links *l, const char *registry, const char *repository, const char *parent,
                  const char *child) {
    struct key k = key_of(registry, repository);
    if (k.len == 0)
        return;
    pthread_mutex_lock(&l->lock);
    struct repository *r = with_room(repository_take(l, &k), 1);
    uint32_t from = node_add(r, parent);
    uint32_t to = node_add(r, child);
    edge_add(r, from, to);
    if (is_tag(parent)) {
        tag_used(r, from);
        r->nodes[to].led = ++r->turn;
    }
    repository_put(l, &k, r);
    pthread_mutex_unlock(&l->lock);
}

void links_tag(struct links *l, const char *registry, const char *repository, const char *tag, const char *digest) {
    if (is_tag(tag) && is_digest(digest))
        learn(l, registry, repository, tag, digest);
}

void links_referrer(struct links *l, const char *registry, const char *repository, const char *subject,
                    const char *child) {
    if (is_digest(subject) && is_digest(child))
        learn(l, registry, repository, subject, child);
}

static void learn_document(struct repository *r, const char *digest, const struct document *d) {
    uint32_t self = node_add(r, digest);
    // From the last to the first: lists of edges begin with the newest, so the walk meets them in document order.
    for (size_t i = d->count; i-- > 0;) {
        if (!is_digest(d->descriptors[i].digest))
            continue;
        uint32_t child = node_add(r, d->descriptors[i].digest);
        edge_add(r, self, child);
        if (d->kind == DOCUMENT_INDEX && d->descriptors[i].role == ROLE_MANIFEST)
            mark(r, child, &r->nodes[child].listed);
    }
    if (is_digest(d->subject))
        edge_add(r, node_add(r, d->subject), self);
    r->nodes[self].index = d->kind == DOCUMENT_INDEX;
    mark(r, self, &r->nodes[self].read);
}

void links_document(struct links *l, const char *registry, const char *repository, const char *digest,
                    const struct document *d) {
    struct key k = key_of(registry, repository);
    if (k.len == 0 || !is_digest(digest) || d->count >= LINKS_REPOSITORY_EDGES_MAX)
        return;
    pthread_mutex_lock(&l->lock);
    struct repository *r = repository_take(l, &k);
    uint32_t known = node_find(r, digest);
    // What a digest names never changes, so once is enough.
    // A document that names nothing and that nothing names makes no edge, and what makes no edge is not bounded.
    bool news = known == NONE ? d->count > 0 || d->subject[0] != '\0' : !r->nodes[known].read;
    if (news) {
        r = with_room(r, d->count + 1);
        learn_document(r, digest, d);
    }
    repository_put(l, &k, r);
    pthread_mutex_unlock(&l->lock);
}

void links_skip(struct links *l, const char *registry, const char *repository, const char *digest) {
    struct key k = key_of(registry, repository);
    pthread_mutex_lock(&l->lock);
    struct repository *r = repository_find(l, &k);
    uint32_t number = r == NULL ? (uint32_t)NONE : node_find(r, digest);
    if (number != NONE) {
        r->nodes[number].skipped = ++r->turn;
        r->nodes[number].skipped_ms = clock_ms();
    }
    pthread_mutex_unlock(&l->lock);
}

// --- what the asker brings ---

static int compare_digests(const void *key, const void *element) {
    return strcmp(key, *(const char *const *)element);
}

static bool is_denied(const struct links_asker *a, const char *digest) {
    return a->denied_count > 0 &&
           bsearch(digest, a->denied, a->denied_count, sizeof *a->denied, compare_digests) != NULL;
}

// Steps that this question may take.
static size_t steps_of(const struct links_asker *a) {
    return a->steps != NULL && *a->steps < LINKS_STEPS_MAX ? *a->steps : LINKS_STEPS_MAX;
}

// Counted down, never set: what the asker asks meanwhile counts, too.
static void spend(const struct links_asker *a, size_t steps) {
    if (a->steps != NULL)
        *a->steps -= steps < *a->steps ? steps : *a->steps;
}

static bool exhausted(const struct links_asker *a) {
    return a->steps != NULL && *a->steps == 0;
}

// --- upwards: from a digest to the tags ---

struct tag_name {
    char text[TAG_MAX + 1];
    char led_to[DIGEST_TEXT_MAX + 1];
};

struct tag_list {
    struct tag_name *tags;
    size_t count;
};

static void tag_list_add(struct tag_list *t, const char *tag, const char *led_to) {
    if ((t->count & (t->count - 1)) == 0)
        t->tags = mem_resize(t->tags, t->count == 0 ? 1 : 2 * t->count, sizeof *t->tags);
    struct tag_name *one = &t->tags[t->count++];
    snprintf(one->text, sizeof one->text, "%s", tag);
    snprintf(one->led_to, sizeof one->led_to, "%s", led_to);
}

static bool ask_about(const struct links_asker *a, const struct tag_name *t) {
    spend(a, 1);
    return a->tag_allowed(a->ctx, t->text, t->led_to);
}

// Nodes of the level that is being walked, and of the next.
struct frontier {
    uint32_t *nodes;
    size_t count, cap;
};

static void frontier_add(struct frontier *f, uint32_t node) {
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 16 : 2 * f->cap;
        f->nodes = mem_resize(f->nodes, f->cap, sizeof *f->nodes);
    }
    f->nodes[f->count++] = node;
}

// One level up from `node`: tags are collected, the rest goes on to the next level.
static void climb(struct repository *r, uint32_t node, const struct links_asker *a, size_t *steps,
                  struct frontier *next, struct tag_list *tags) {
    for (uint32_t e = r->nodes[node].parents; e != NONE && *steps > 0; e = r->edges[e].next_parent) {
        --*steps;
        struct node *parent = &r->nodes[r->edges[e].parent];
        if (parent->seen == r->walk)
            continue;
        parent->seen = r->walk;
        if (parent->tag && tags->count < LINKS_CANDIDATES_MAX)
            tag_list_add(tags, parent->name, r->nodes[node].name);
        else if (!parent->tag && !is_denied(a, parent->name))
            frontier_add(next, r->edges[e].parent);
    }
}

// The tags above a digest, nearest first.
static void tags_above(struct repository *r, const char *digest, const struct links_asker *a, struct tag_list *tags) {
    uint32_t start = node_find(r, digest);
    if (start == NONE || r->nodes[start].tag)
        return;
    r->nodes[start].seen = next_walk(r);
    const size_t all = steps_of(a);
    size_t left = all;
    struct frontier level = {0}, next = {0};
    frontier_add(&level, start);
    for (int depth = 0; depth < LINKS_DEPTH_MAX && level.count > 0; depth++) {
        // Half of what is left for each level: a wide one must not use up the steps to the tags above it.
        size_t steps = left / 2;
        left -= steps;
        for (size_t i = 0; i < level.count; i++)
            climb(r, level.nodes[i], a, &steps, &next, tags);
        left += steps;
        struct frontier walked = level;
        level = next;
        next = walked;
        next.count = 0;
    }
    spend(a, all - left);
    free(level.nodes);
    free(next.nodes);
}

bool links_reach(struct links *l, const char *registry, const char *repository, const char *digest,
                 const struct links_asker *asker, char *tag) {
    struct key k = key_of(registry, repository);
    struct tag_list tags = {0};
    if (exhausted(asker))
        return false;
    spend(asker, 1);
    pthread_mutex_lock(&l->lock);
    struct repository *r = repository_find(l, &k);
    if (r != NULL)
        tags_above(r, digest, asker, &tags);
    pthread_mutex_unlock(&l->lock);
    bool found = false;
    for (size_t i = 0; i < tags.count && !found && !exhausted(asker); i++) {
        found = ask_about(asker, &tags.tags[i]);
        if (found && tag != NULL)
            memcpy(tag, tags.tags[i].text, sizeof tags.tags[i].text);
    }
    free(tags.tags);
    return found;
}

// --- downwards: from the tags to what was not read ---

struct proposal {
    uint32_t tag; // Into the list of tags.
    char digest[DIGEST_TEXT_MAX + 1];
};

struct proposals {
    const struct links_asker *asker;
    int64_t now_ms;
    struct tag_list tags;
    struct proposal *all;
    size_t count;
    size_t of_tag; // Of the tag that is being walked.
    uint64_t led;  // When the tag led to what is being walked.
    size_t steps;
};

static void propose(struct proposals *p, const char *digest) {
    // More of one tag than may be answered are of no use, and would crowd out the other tags.
    if (p->count == LINKS_CANDIDATES_MAX || p->of_tag == LINKS_UNREAD_MAX)
        return;
    p->of_tag++;
    if ((p->count & (p->count - 1)) == 0)
        p->all = mem_resize(p->all, p->count == 0 ? 1 : 2 * p->count, sizeof *p->all);
    struct proposal *one = &p->all[p->count++];
    one->tag = (uint32_t)(p->tags.count - 1);
    snprintf(one->digest, sizeof one->digest, "%s", digest);
}

// The next node below, if the walk may go there: not where it was, nor through what is denied.
static bool enter(const struct repository *r, struct node *n, struct proposals *p) {
    if (n->seen == r->walk || is_denied(p->asker, n->name))
        return false;
    n->seen = r->walk;
    return true;
}

static bool skipped(const struct node *n, const struct proposals *p) {
    return n->skipped > p->led && p->now_ms - n->skipped_ms < (int64_t)LINKS_SKIP_S * 1000;
}

static void descend(struct repository *r, uint32_t node, int depth, struct proposals *p) {
    for (uint32_t e = r->nodes[node].children; e != NONE && p->steps > 0; e = r->edges[e].next_child) {
        p->steps--;
        uint32_t number = r->edges[e].child;
        struct node *child = &r->nodes[number];
        if (!enter(r, child, p))
            continue;
        if (waits(child) && !skipped(child, p))
            propose(p, child->name);
        if (child->index && depth + 1 < LINKS_DEPTH_MAX)
            descend(r, number, depth + 1, p);
    }
}

static void collect_under(struct repository *r, uint32_t tag, struct proposals *p) {
    p->of_tag = 0;
    next_walk(r);
    for (uint32_t e = r->nodes[tag].children; e != NONE && p->steps > 0; e = r->edges[e].next_child) {
        p->steps--;
        uint32_t number = r->edges[e].child;
        if (!enter(r, &r->nodes[number], p) || !r->nodes[number].index)
            continue;
        size_t before = p->count;
        p->led = r->nodes[number].led;
        tag_list_add(&p->tags, r->nodes[tag].name, r->nodes[number].name);
        descend(r, number, 1, p);
        if (p->count == before)
            p->tags.count--; // Nothing waits under it: do not ask about it.
    }
}

// For each tag, the newest first, what waits under its indexes.
static void collect_unread(struct repository *r, struct proposals *p) {
    const size_t all = steps_of(p->asker);
    p->steps = all;
    for (uint32_t i = r->newest; i != NONE && p->steps > 0 && p->count < LINKS_CANDIDATES_MAX; i = r->nodes[i].older) {
        p->steps--;
        collect_under(r, i, p);
    }
    spend(p->asker, all - p->steps);
}

static bool is_out(const struct links_unread *out, const char *digest) {
    for (size_t i = 0; i < out->count; i++)
        if (strcmp(out->digest[i], digest) == 0)
            return true;
    return false;
}

static void choose_unread(const struct proposals *p, struct links_unread *out) {
    uint32_t asked = NONE;
    bool allowed = false;
    for (size_t i = 0; i < p->count && out->count < LINKS_UNREAD_MAX; i++) {
        const struct proposal *one = &p->all[i];
        if (one->tag != asked) {
            asked = one->tag;
            allowed = !exhausted(p->asker) && ask_about(p->asker, &p->tags.tags[asked]);
        }
        if (allowed && !is_out(out, one->digest))
            memcpy(out->digest[out->count++], one->digest, sizeof one->digest);
    }
}

void links_unread(struct links *l, const char *registry, const char *repository, const struct links_asker *asker,
                  struct links_unread *out) {
    struct key k = key_of(registry, repository);
    struct proposals p = {.asker = asker, .now_ms = clock_ms()};
    out->count = 0;
    if (exhausted(asker))
        return;
    spend(asker, 1);
    pthread_mutex_lock(&l->lock);
    struct repository *r = repository_find(l, &k);
    if (r != NULL && r->unread > 0)
        collect_unread(r, &p);
    pthread_mutex_unlock(&l->lock);
    choose_unread(&p, out);
    free(p.tags.tags);
    free(p.all);
}
