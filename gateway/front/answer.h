// SPDX-License-Identifier: Apache-2.0
//
// Answers that are there as a whole: errors, denials, manifests, listings. On the exchange's loop; does nothing once
// the request is gone.

#pragma once

#include "gateway/config/verdict.h"
#include "gateway/front/exchange.h"

struct answer {
    int status;
    const char *content_type;  ///< NULL: none.
    const char *digest;        ///< Docker-Content-Digest and ETag; NULL: none.
    const char *body;          ///< Left out for HEAD.
    struct manifest *manifest; ///< Whose the body is, and keeps it; NULL: it is copied.
    size_t len;
    size_t content_length; ///< What Content-Length says; SIZE_MAX: `len`.
    const char *content_range, *location, *allow, *retry_after, *link, *filters_applied, *challenge; ///< NULL: none.
    const char *phrase; ///< NULL: the status's usual one.
    bool uncached;      ///< Nobody may keep it.
};

void answer_send(struct exchange *ex, const struct answer *a);

/// An OCI error: {"errors":[{"code","message"}]}.
void answer_error(struct exchange *ex, int status, const char *code, const char *message);

/// The same with a reason phrase.
void answer_phrased(struct exchange *ex, int status, const char *phrase, const char *code, const char *message);

/// 401 UNAUTHORIZED with this WWW-Authenticate.
void answer_unauthorized(struct exchange *ex, const char *challenge, const char *message);

/// 429 TOOMANYREQUESTS.
void answer_slow_down(struct exchange *ex, const char *retry_after, const char *message);

/// An upstream's failure, told: 404 stays 404, 429 passes on, what the registry refuses is 403 DENIED, the rest 502,
/// 503 or 504. Refusals of hosts and addresses are denials.
void answer_failure(struct exchange *ex, const struct fetch_result *result);

/// Deny for what the content or its way is, in the form that ends this client's pull. `detail` (may be NULL) is the
/// why.
void answer_deny(struct exchange *ex, enum denial_reason reason, const char *detail);

/// Deny what the registries and rules deny.
void answer_verdict(struct exchange *ex, const struct verdict *v, const struct question *q);

/// Deny in the gateway's own `words` and the site's, always as a plain 403: what is refused for everyone.
void answer_deny_plain(struct exchange *ex, enum denial_reason reason, const char *words);

/// Why a document with this verdict is refused.
enum denial_reason answer_reason(enum document_verdict verdict);

/// 304 where the client's If-None-Match names this digest; true when it was sent.
bool answer_not_modified(struct exchange *ex, const char *digest);

/// The headers that every answer has, and those of content.
void answer_common_headers(struct exchange *ex);

/// Warn of content that is older than it should be (RFC 7234 5.5.1), where it is.
void answer_stale(struct exchange *ex);

/// `name` in its usual spelling.
void answer_header(struct exchange *ex, const char *name, const char *value);
