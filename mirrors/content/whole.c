// SPDX-License-Identifier: Apache-2.0
//
// Reading an answer whole, with a bound: manifests and listings. On the fetch thread.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <stdlib.h>
#include <string.h>

struct reading {
    struct whole whole;
    whole_fn done;
    void *ctx;
};

static enum transfer_flow on_head(void *ctx, const struct transfer_head *head, const struct fetch_result *so_far) {
    struct reading *r = ctx;
    r->whole.head = *head;
    r->whole.head.location = NULL;
    if (head->length > 0 && (uint64_t)head->length > r->whole.body.max)
        r->whole.body.overflow = true;
    return r->whole.body.overflow ? TRANSFER_STOP : TRANSFER_CONTINUE;
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct reading *r = ctx;
    return buf_add(&r->whole.body, data, len) ? TRANSFER_CONTINUE : TRANSFER_STOP;
}

static void on_done(void *ctx, const struct fetch_result *result) {
    struct reading *r = ctx;
    r->whole.result = result;
    r->done(r->ctx, &r->whole);
    buf_deinit(&r->whole.body);
    free(r);
}

void whole_start(struct fetcher *f, const struct fetch_spec *spec, size_t max, whole_fn done, void *ctx) {
    static const struct fetch_callbacks callbacks = {.head = on_head, .body = on_body, .done = on_done};
    struct reading *r = mem_zalloc(1, sizeof(*r));
    r->done = done;
    r->ctx = ctx;
    buf_init(&r->whole.body, max);
    struct fetch_spec whole = *spec;
    whole.whole = true;
    fetch_unref(fetch_start(f, &whole, &callbacks, r));
}
