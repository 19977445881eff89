// SPDX-License-Identifier: Apache-2.0
//
// One repository's links as a graph: nodes are tags and digests, an edge leads from what was asked or read (a tag, an
// index, a manifest, a subject) to what it named. Nodes and edges are numbers in two arrays; each edge stands in the
// list of its child's parents and in that of its parent's children, newest first.
//
// Inside of links*.c. Not thread-safe: the links' lock guards it.

#pragma once

#include "mirrors/base/hash.h"
#include "mirrors/base/lru.h"
#include "mirrors/content/links.h"

#include <pthread.h>
#include <stdint.h>

enum { GRAPH_NONE = UINT32_MAX };

struct graph_node {
    char *name;                 // The tag, or the digest: only the latter has a ':'.
    uint32_t parents, children; // Heads of the lists of edges, or GRAPH_NONE.
    uint32_t newer, older;      // A tag: in the order of use, or GRAPH_NONE.
    uint32_t seen;              // The last walk that came here.
    uint64_t led;               // When a tag last led here, in turns of the repository.
    uint64_t skipped;           // When it could not be read, likewise; 0: never.
    int64_t skipped_ms;         // The same by the clock.
    bool tag;
    bool index;  // An index, and read.
    bool read;   // Its document was read...
    bool sure;   // ... by this process, so that none of its edges can be missing.
    bool listed; // An index names it as a manifest.
};

struct graph_edge {
    uint32_t parent, child;
    uint32_t next_parent; // The next edge to the same child.
    uint32_t next_child;  // The next edge from the same parent.
};

struct graph {
    struct lru *numbers; // Name to number + 1; never evicts.
    struct graph_node *nodes;
    uint32_t node_count, node_cap;
    struct graph_edge *edges;
    uint32_t edge_count, edge_cap;
    uint32_t *slots; // Open-addressed set of edges: number + 1, 0 is free.
    uint32_t slot_count;
    struct hash_key hash;
    uint32_t newest, oldest; // The tags, in the order of use.
    uint32_t walk;           // The number of the current walk.
    uint32_t unread;         // Nodes that wait to be read.
    uint64_t turn;           // Counts what happens, so that before and after can be told apart.
    bool loaded;             // What was kept of it is in here.
};

struct graph *graph_new(void);
void graph_free(void *graph);

/// The node of that name, or GRAPH_NONE.
uint32_t graph_find(const struct graph *r, const char *name);
uint32_t graph_add(struct graph *r, const char *name);

bool graph_has_edge(const struct graph *r, uint32_t parent, uint32_t child);

/// False: it was there.
bool graph_add_edge(struct graph *r, uint32_t parent, uint32_t child);

/// The tag is now the newest.
void graph_tag_used(struct graph *r, uint32_t number);

/// Is it named as a manifest, and not read?
bool graph_waits(const struct graph_node *n);
void graph_mark_listed(struct graph *r, uint32_t number);
void graph_mark_read(struct graph *r, uint32_t number);

/// Begin a walk: `seen` of every node is another number than this.
uint32_t graph_next_walk(struct graph *r);

struct links {
    pthread_mutex_t lock;
    struct lru *repositories;
    links_learned_fn learned;
    void *ctx;
};

/// The repository's graph, under the lock; NULL: nothing is known of it.
struct graph *links_find(struct links *l, const char *registry, const char *repository);
