// SPDX-License-Identifier: Apache-2.0
//
// Asking the links, see links.h: upwards from a digest to the tags, downwards from the tags to what was not read. The
// calls of `tag_allowed` happen outside the lock, on copied names: it may ask again.

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"
#include "mirrors/content/links_graph.h"
#include "mirrors/oci/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static void climb(struct graph *r, uint32_t node, const struct links_asker *a, size_t *steps, struct frontier *next,
                  struct tag_list *tags) {
    for (uint32_t e = r->nodes[node].parents; e != GRAPH_NONE && *steps > 0; e = r->edges[e].next_parent) {
        --*steps;
        struct graph_node *parent = &r->nodes[r->edges[e].parent];
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
static void tags_above(struct graph *r, const char *digest, const struct links_asker *a, struct tag_list *tags) {
    uint32_t start = graph_find(r, digest);
    if (start == GRAPH_NONE || r->nodes[start].tag)
        return;
    r->nodes[start].seen = graph_next_walk(r);
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
    struct tag_list tags = {0};
    if (exhausted(asker))
        return false;
    spend(asker, 1);
    pthread_mutex_lock(&l->lock);
    struct graph *r = links_find(l, registry, repository);
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
static bool enter(const struct graph *r, struct graph_node *n, struct proposals *p) {
    if (n->seen == r->walk || is_denied(p->asker, n->name))
        return false;
    n->seen = r->walk;
    return true;
}

static bool skipped(const struct graph_node *n, const struct proposals *p) {
    return n->skipped > p->led && p->now_ms - n->skipped_ms < (int64_t)LINKS_SKIP_S * 1000;
}

static void descend(struct graph *r, uint32_t node, int depth, struct proposals *p) {
    for (uint32_t e = r->nodes[node].children; e != GRAPH_NONE && p->steps > 0; e = r->edges[e].next_child) {
        p->steps--;
        uint32_t number = r->edges[e].child;
        struct graph_node *child = &r->nodes[number];
        if (!enter(r, child, p))
            continue;
        if (graph_waits(child) && !skipped(child, p))
            propose(p, child->name);
        if (child->index && depth + 1 < LINKS_DEPTH_MAX)
            descend(r, number, depth + 1, p);
    }
}

static void collect_under(struct graph *r, uint32_t tag, struct proposals *p) {
    p->of_tag = 0;
    graph_next_walk(r);
    for (uint32_t e = r->nodes[tag].children; e != GRAPH_NONE && p->steps > 0; e = r->edges[e].next_child) {
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
static void collect_unread(struct graph *r, struct proposals *p) {
    const size_t all = steps_of(p->asker);
    p->steps = all;
    for (uint32_t i = r->newest; i != GRAPH_NONE && p->steps > 0 && p->count < LINKS_CANDIDATES_MAX;
         i = r->nodes[i].older) {
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
    uint32_t asked = GRAPH_NONE;
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
    struct proposals p = {.asker = asker, .now_ms = clock_ms()};
    out->count = 0;
    if (exhausted(asker))
        return;
    spend(asker, 1);
    pthread_mutex_lock(&l->lock);
    struct graph *r = links_find(l, registry, repository);
    if (r != NULL && r->unread > 0)
        collect_unread(r, &p);
    pthread_mutex_unlock(&l->lock);
    choose_unread(&p, out);
    free(p.tags.tags);
    free(p.all);
}
