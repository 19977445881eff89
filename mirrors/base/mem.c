// SPDX-License-Identifier: Apache-2.0
//
// Memory that does not fail: where malloc() says no, the process ends with one line on stderr.
// No state; any thread.

#include "mirrors/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t size) {
    fprintf(stderr, "pullgate: out of memory (asked for %zu bytes)\n", size);
    abort();
}

static size_t checked_product(size_t count, size_t size) {
    size_t product;
    if (__builtin_mul_overflow(count, size, &product))
        out_of_memory(SIZE_MAX);
    return product;
}

// malloc(0) may give NULL; callers never see one.
static size_t at_least_one(size_t size) {
    return size == 0 ? 1 : size;
}

void *mem_alloc(size_t size) {
    void *p = malloc(at_least_one(size));
    if (p == NULL)
        out_of_memory(size);
    return p;
}

void *mem_zalloc(size_t count, size_t size) {
    size_t product = checked_product(count, size);
    void *p = calloc(1, at_least_one(product));
    if (p == NULL)
        out_of_memory(product);
    return p;
}

void *mem_resize(void *old, size_t count, size_t size) {
    size_t product = checked_product(count, size);
    void *p = realloc(old, at_least_one(product));
    if (p == NULL)
        out_of_memory(product);
    return p;
}

char *mem_strdup(const char *s) {
    return s == NULL ? NULL : mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t len) {
    size_t size;
    if (__builtin_add_overflow(len, 1, &size))
        out_of_memory(SIZE_MAX);
    char *copy = mem_alloc(size);
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        out_of_memory(0);
    return text;
}

void mem_wipe(char *secret) {
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}
