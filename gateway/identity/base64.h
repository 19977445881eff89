// SPDX-License-Identifier: Apache-2.0
//
// Base64, exactly: one text stands for one string of bytes and for no other.
//
// Refused: white space, missing or superfluous padding, bits behind the last byte. Pure; any thread.

#pragma once

#include <stdbool.h>
#include <stddef.h>

enum base64_kind {
    BASE64_STANDARD, ///< `+/`, padded: Basic.
    BASE64_URL       ///< `-_`, not padded: JOSE.
};

/// Bytes that `len` characters can stand for at most.
size_t base64_room(size_t len);

/// Decode into `out` (base64_room(len) + 1 bytes; ended with a NUL that `*out_len` does not count).
bool base64_decode(enum base64_kind kind, const char *text, size_t len, char *out, size_t *out_len);

/// Fresh memory that the caller frees, URL kind.
char *base64_url(const void *data, size_t len);
