// SPDX-License-Identifier: Apache-2.0
//
// Memory that does not fail.
//
// Everything pullgate keeps is bounded by a named constant or a configuration key, so running out of
// memory means a broken machine, not a large request. libh2o ends the process in that case and so do
// these functions; nobody else checks for NULL. Any thread may call them.

#pragma once

#include <stddef.h>

/// Allocate `size` bytes, uninitialised. Freed with free().
void *mem_alloc(size_t size) __attribute__((returns_nonnull));

/// Allocate `count * size` zeroed bytes; the product is checked. Freed with free().
void *mem_zalloc(size_t count, size_t size) __attribute__((returns_nonnull));

/// realloc() to `count * size` bytes; the product is checked.
void *mem_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull));

/// Copy a string; NULL gives NULL. Freed with free().
char *mem_strdup(const char *s);

/// Copy `len` bytes and end them with a NUL. Freed with free().
char *mem_strndup(const char *s, size_t len);

/// snprintf into fresh memory. Freed with free().
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Overwrite a secret string and free it; NULL is allowed.
void mem_wipe(char *secret);
