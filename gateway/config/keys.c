// SPDX-License-Identifier: Apache-2.0
//
// The list of every key, out of the parser's own tables.
//
// Built once, under pthread_once, and never changed: a constant that the language cannot write down.

#include "gateway/config/loading.h"

#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct key_list {
    char **list;
    size_t count;
};

static struct key_list all_keys;
static pthread_once_t all_keys_once = PTHREAD_ONCE_INIT;

static const char *suffix(enum read_shape shape) {
    switch (shape) {
    case READ_LIST:
        return "[].";
    case READ_MAP:
        return "{}.";
    case READ_OBJECT:
    case READ_LEAF:
        break;
    }
    return ".";
}

static void collect(struct key_list *keys, const struct read_key *table, const char *before) {
    for (; table->name != NULL; table++) {
        char *path = mem_printf("%s%s", before, table->name);
        keys->list = mem_resize(keys->list, keys->count + 1, sizeof *keys->list);
        keys->list[keys->count++] = path;
        if (table->shape == READ_LEAF)
            continue;
        char *below = mem_printf("%s%s", path, suffix(table->shape));
        collect(keys, table->children, below);
        free(below);
    }
}

static int by_text(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static void build(void) {
    collect(&all_keys, config_root_keys, "");
    qsort(all_keys.list, all_keys.count, sizeof *all_keys.list, by_text);
}

const char *const *config_keys(size_t *count) {
    pthread_once(&all_keys_once, build);
    *count = all_keys.count;
    return (const char *const *)all_keys.list;
}
