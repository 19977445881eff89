// SPDX-License-Identifier: Apache-2.0
//
// Which of many patterns can match a name: an index over what stands before a pattern's first `*`.
//
// A pattern matches "registry/repository" only if that begins with the pattern's literal head. Patterns are grouped by
// head; a look-up visits the heads of the lengths that occur, and then gives the patterns of the groups found in
// ascending order of their numbers, which is the order of the rules. Built once, then read by any thread.

#pragma once

#include <stddef.h>
#include <stdint.h>

enum { INDEX_HEAD_MAX = 640 };

struct index;

struct index *index_new(void);
void index_free(struct index *x);

/// `number` has a pattern with this head. Numbers are added in ascending order; heads over INDEX_HEAD_MAX are cut,
/// which only makes them less selective.
void index_add(struct index *x, const char *head, size_t head_len, uint32_t number);

struct index_cursor {
    const uint32_t *at, *end;
};

struct index_walk {
    size_t count;
    struct index_cursor cursors[INDEX_HEAD_MAX + 1];
};

/// Find the groups for this name.
void index_find(const struct index *x, const char *name, size_t name_len, struct index_walk *w);

enum { INDEX_END = -1 };

/// The next number in ascending order, or INDEX_END.
int64_t index_next(struct index_walk *w);

/// How many numbers index_next() would still give.
size_t index_left(const struct index_walk *w);
