// SPDX-License-Identifier: Apache-2.0
//
// See links_graph.h.

#include "mirrors/content/links_graph.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { EDGE_SLOTS_FIRST = 16 };

struct graph *graph_new(void) {
    struct graph *r = mem_zalloc(1, sizeof *r);
    r->numbers = lru_new(SIZE_MAX, 0, NULL);
    r->newest = r->oldest = GRAPH_NONE;
    r->slot_count = EDGE_SLOTS_FIRST;
    r->slots = mem_zalloc(r->slot_count, sizeof *r->slots);
    hash_key_random(&r->hash);
    return r;
}

void graph_free(void *value) {
    struct graph *r = value;
    for (uint32_t i = 0; i < r->node_count; i++)
        free(r->nodes[i].name);
    lru_free(r->numbers);
    free(r->nodes);
    free(r->edges);
    free(r->slots);
    free(r);
}

uint32_t graph_find(const struct graph *r, const char *name) {
    uintptr_t found = (uintptr_t)lru_peek(r->numbers, name, strlen(name));
    return found == 0 ? (uint32_t)GRAPH_NONE : (uint32_t)(found - 1);
}

uint32_t graph_add(struct graph *r, const char *name) {
    uint32_t found = graph_find(r, name);
    if (found != GRAPH_NONE)
        return found;
    if (r->node_count == r->node_cap) {
        r->node_cap = r->node_cap == 0 ? 8 : 2 * r->node_cap;
        r->nodes = mem_resize(r->nodes, r->node_cap, sizeof *r->nodes);
    }
    uint32_t number = r->node_count++;
    r->nodes[number] = (struct graph_node){.name = mem_strdup(name),
                                           .parents = GRAPH_NONE,
                                           .children = GRAPH_NONE,
                                           .newer = GRAPH_NONE,
                                           .older = GRAPH_NONE};
    lru_put(r->numbers, name, strlen(name), (void *)((uintptr_t)number + 1), 0);
    return number;
}

// Where the edge stands or belongs in the set.
static uint32_t *edge_slot(const struct graph *r, uint32_t parent, uint32_t child) {
    uint32_t key[2] = {parent, child};
    for (uint64_t i = hash_bytes(&r->hash, key, sizeof key);; i++) {
        uint32_t *slot = &r->slots[i & (r->slot_count - 1)];
        if (*slot == 0)
            return slot;
        const struct graph_edge *e = &r->edges[*slot - 1];
        if (e->parent == parent && e->child == child)
            return slot;
    }
}

static void grow_slots(struct graph *r) {
    free(r->slots);
    r->slot_count *= 2;
    r->slots = mem_zalloc(r->slot_count, sizeof *r->slots);
    for (uint32_t i = 0; i < r->edge_count; i++)
        *edge_slot(r, r->edges[i].parent, r->edges[i].child) = i + 1;
}

bool graph_has_edge(const struct graph *r, uint32_t parent, uint32_t child) {
    return *edge_slot(r, parent, child) != 0;
}

// False: it was there.
bool graph_add_edge(struct graph *r, uint32_t parent, uint32_t child) {
    if (parent == child || graph_has_edge(r, parent, child))
        return false;
    if (r->edge_count == r->edge_cap) {
        r->edge_cap = r->edge_cap == 0 ? 8 : 2 * r->edge_cap;
        r->edges = mem_resize(r->edges, r->edge_cap, sizeof *r->edges);
    }
    if (2 * (r->edge_count + 1) > r->slot_count)
        grow_slots(r);
    uint32_t number = r->edge_count++;
    struct graph_node *from = &r->nodes[parent], *to = &r->nodes[child];
    r->edges[number] =
        (struct graph_edge){.parent = parent, .child = child, .next_parent = to->parents, .next_child = from->children};
    to->parents = from->children = number;
    *edge_slot(r, parent, child) = number + 1;
    return true;
}

static void tag_unlink(struct graph *r, struct graph_node *n) {
    *(n->newer != GRAPH_NONE ? &r->nodes[n->newer].older : &r->newest) = n->older;
    *(n->older != GRAPH_NONE ? &r->nodes[n->older].newer : &r->oldest) = n->newer;
}

// The tag is now the newest.
void graph_tag_used(struct graph *r, uint32_t number) {
    struct graph_node *n = &r->nodes[number];
    if (r->newest == number)
        return;
    if (n->tag)
        tag_unlink(r, n);
    n->tag = true;
    n->newer = GRAPH_NONE;
    n->older = r->newest;
    *(n->older != GRAPH_NONE ? &r->nodes[n->older].newer : &r->oldest) = number;
    r->newest = number;
}

bool graph_waits(const struct graph_node *n) {
    return n->listed && !n->read;
}

// Change a node's marks and keep the count of those that wait.
static void mark(struct graph *r, uint32_t number, bool listed, bool read) {
    struct graph_node *n = &r->nodes[number];
    bool before = graph_waits(n);
    n->listed = n->listed || listed;
    n->read = n->read || read;
    if (graph_waits(n) && !before)
        r->unread++;
    if (before && !graph_waits(n))
        r->unread--;
}

void graph_mark_listed(struct graph *r, uint32_t number) {
    mark(r, number, true, false);
}

void graph_mark_read(struct graph *r, uint32_t number) {
    mark(r, number, false, true);
}

uint32_t graph_next_walk(struct graph *r) {
    if (++r->walk == 0) { // Wrapped around: forget the old marks.
        for (uint32_t i = 0; i < r->node_count; i++)
            r->nodes[i].seen = 0;
        r->walk = 1;
    }
    return r->walk;
}
