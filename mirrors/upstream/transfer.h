// SPDX-License-Identifier: Apache-2.0
//
// One HTTP exchange with one upstream host, over libcurl.
//
// The guards that hold for every request to the outside stand here and nowhere else: the address
// rules (when a connection is made and again when it is reused), the trust anchors, the bounds on
// headers, the protocols. What the answer means is fetch.h's business. A transfer belongs to the
// fetch thread whose multi handle it was started on; every function and callback runs there.

#pragma once

#include "mirrors/oci/challenge.h"
#include "mirrors/oci/digest.h"
#include "mirrors/oci/document.h"
#include "mirrors/upstream/multi.h"
#include "mirrors/upstream/registry.h"

#include <stdint.h>

enum {
    TRANSFER_HEAD_BYTES_MAX = 64 * 1024, ///< Of all header lines of one answer, and of all 1xx before it.
    TRANSFER_HEAD_LINES_MAX = 200,
    TRANSFER_LINK_MAX = 2048,
    TRANSFER_ETAG_MAX = 255,
    TRANSFER_RECEIVE_BUFFER = 256 * 1024, ///< libcurl's buffer per connection.
    TRANSFER_STALL_SECONDS = 60           ///< An unpaused body that brings nothing for so long has failed.
};

/// What of an answer's head is used; nothing else of it reaches a client. Strings are "" where the header was
/// absent or too long for its field.
struct transfer_head {
    int status;
    int64_t length; ///< Content-Length, -1 without (or chunked).
    char content_type[MEDIA_TYPE_MAX + 64];
    char digest[DIGEST_TEXT_MAX + 1];
    char content_range[128];
    char content_encoding[64];
    char retry_after[64];
    char filters_applied[128];
    char etag[TRANSFER_ETAG_MAX + 1]; ///< Strong or weak, with its quotes; "" unless it is in that form.
    int ratelimit_remaining;          ///< docker.io's "ratelimit-remaining: 76;w=21600"; -1 without.
    char link[TRANSFER_LINK_MAX + 1];
    char *location; ///< NULL without; freed with the transfer.
    struct challenge_list challenges;
};

enum transfer_flow { TRANSFER_CONTINUE, TRANSFER_PAUSE, TRANSFER_STOP };

enum transfer_end {
    TRANSFER_COMPLETE, ///< The answer ended as its framing said (or, without framing, with the connection).
    TRANSFER_CONNECT,  ///< Name, connection or TLS failed: nothing was asked.
    TRANSFER_SILENT,   ///< The same, by saying nothing until the connect's time was over.
    TRANSFER_ADDRESS,  ///< Every address of the host is refused by the address rules.
    TRANSFER_BROKEN,   ///< Anything that went wrong after that: cut short, bad framing, over a bound, stalled.
    TRANSFER_STOPPED   ///< A callback said so.
};

struct transfer_callbacks {
    /// The final head (no 1xx) is there. TRANSFER_PAUSE is not allowed here.
    enum transfer_flow (*head)(void *ctx, const struct transfer_head *head);
    /// Body bytes. After TRANSFER_PAUSE the same bytes come again once transfer_resume() was called.
    enum transfer_flow (*body)(void *ctx, const char *data, size_t len);
    /// The end, once; the transfer is freed right after. Not called after transfer_abort().
    void (*done)(void *ctx, enum transfer_end end, const char *why);
};

struct figures;

struct transfer_spec {
    const char *url;         ///< Absolute.
    struct figures *figures; ///< Where it is counted, for the registry `name`, which must live as long; NULL: nowhere.
    const char *name;
    const struct registry *registry;
    const char *ca;            ///< PEM beside the system's trust, or NULL.
    bool head;                 ///< HEAD instead of GET.
    const char *authorization; ///< The header's value, or NULL.
    const char *accept;        ///< The header's value, or NULL for */*.
    const char *range;         ///< "bytes=..." or NULL.
    bool public_only; ///< The registry's private_addresses do not hold: the host is one that monitor mode let pass.
    unsigned connect_timeout_ms;
};

struct transfer;

struct transfer *transfer_start(struct multi *multi, const struct transfer_spec *spec,
                                const struct transfer_callbacks *callbacks, void *ctx);

/// End it now, without a callback. Not from inside a callback: return TRANSFER_STOP there.
void transfer_abort(struct transfer *t);

/// The same because its time is over: it is counted as an error.
void transfer_expire(struct transfer *t);

/// Go on after TRANSFER_PAUSE; calls back at once with what was held. Not from inside a callback. False: what was held
/// could not be delivered (or a callback said stop) and is lost, but libcurl would go on all the same: abort it.
bool transfer_resume(struct transfer *t);

/// Deal with an easy handle that curl_multi_info_read() says is finished.
void transfer_finished(CURL *easy, CURLcode code);
