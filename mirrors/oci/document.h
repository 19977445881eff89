// SPDX-License-Identifier: Apache-2.0
//
// Manifests and indexes, judged as documents that strangers wrote.
//
// Go's encoding/json, which every client uses, matches keys without regard to case (with Unicode
// folding: U+017F for s, U+212A for k) and lets the last duplicate win. A document that could mean
// something else to a client than to the gateway is therefore refused here. Pure; any thread.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/oci/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DOCUMENT_SIZE_MAX = 4 * 1024 * 1024, DOCUMENT_DESCRIPTORS_MAX = 10000, MEDIA_TYPE_MAX = 255 };

enum document_kind { DOCUMENT_MANIFEST, DOCUMENT_INDEX };

/// What the gateway found; everything but DOCUMENT_OK is a refusal, and a closed list for the log.
enum document_verdict {
    DOCUMENT_OK,
    DOCUMENT_MALFORMED,  ///< Not JSON, not an object, a descriptor without digest or size, wrong types, too many
                         ///< descriptors.
    DOCUMENT_TOO_LARGE,  ///< Over DOCUMENT_SIZE_MAX.
    DOCUMENT_SCHEMA1,    ///< Docker schema 1, signed or not.
    DOCUMENT_AMBIGUOUS,  ///< A key equal to a known one only after case folding, or twice after folding; `manifests`
                         ///< beside `layers`/`config`/`fsLayers`/`blobs`. (An exact duplicate is already MALFORMED.)
    DOCUMENT_MEDIA_TYPE, ///< Content-Type, `mediaType` and content do not agree, or a type that is no manifest.
    DOCUMENT_URLS,       ///< A descriptor carries `urls` that are not permitted; `urls_host` names the first.
    DOCUMENT_DIGEST      ///< Not what the digest says (set by callers that compare).
};

enum descriptor_role { ROLE_CONFIG, ROLE_LAYER, ROLE_MANIFEST, ROLE_BLOB, ROLE_SUBJECT };

struct descriptor {
    enum descriptor_role role;
    char digest[DIGEST_TEXT_MAX + 1];
    uint64_t size;
    char media_type[MEDIA_TYPE_MAX + 1]; ///< "" where absent.
};

struct document {
    enum document_kind kind;
    char media_type[MEDIA_TYPE_MAX + 1]; ///< To be sent as Content-Type: the effective type.
    char subject[DIGEST_TEXT_MAX + 1];   ///< "" without one.
    struct descriptor *descriptors;      ///< Everything it names but the subject.
    size_t count;
    char urls_host[256]; ///< DOCUMENT_URLS: the host (or the start of what stood there), printable.
};

/// The four media types that a manifest may have, without parameters and case aside.
bool document_type_known(const char *media_type, size_t len, enum document_kind *kind);

/// The Accept value that pullgate sends upstream.
extern const char document_accept[];

/// Judge `len` bytes that came with `content_type` (may be NULL; parameters such as charset are ignored). Absent or
/// application/json, the document's own `mediaType` must say what it is; any other unknown type is refused.
/// `url_permitted` (may be NULL: none is) is asked for each entry of each descriptor's `urls`. Descriptors with an
/// unsupported digest algorithm are kept out of `descriptors`. On DOCUMENT_OK, and only then, `out` is filled and
/// must be freed with document_deinit(). Otherwise `err` holds a sentence that fits after
/// "IMAGE is not permitted: ", and out->urls_host is set for DOCUMENT_URLS.
enum document_verdict document_judge(const char *data, size_t len, const char *content_type,
                                     bool (*url_permitted)(void *ctx, const char *url), void *ctx, struct document *out,
                                     struct err *err);
void document_deinit(struct document *d);

/// The reason's word in the log ("urls", "schema1", ...).
const char *document_verdict_word(enum document_verdict v);
