// SPDX-License-Identifier: Apache-2.0
//
// libh2o's own errors are bound to the host's fallback path: a filter there puts an OCI error in the place of the
// plain text, and a logger writes the line. On the loop's thread.

#include "gateway/front/early.h"

#include "gateway/front/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct replacing {
    h2o_ostream_t super;
    h2o_iovec_t body;
};

static void send_replacement(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                             h2o_send_state_t state) {
    struct replacing *r = (struct replacing *)self;
    if (state == H2O_SEND_STATE_FINAL)
        h2o_ostream_send_next(self, req, &r->body, 1, state);
    else
        h2o_ostream_send_next(self, req, bufs, 0, state);
}

static const char *sentence_for(int status) {
    return status == 413 ? "request bodies over 64 KiB are refused"
                         : "this is no HTTP request that the gateway understands";
}

static void on_setup(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot) {
    size_t len;
    char id[EXCHANGE_ID_HEX + 1];
    exchange_make_id(loop_connection(req)->loop, id);
    h2o_iovec_t kept = h2o_strdup(&req->pool, id, EXCHANGE_ID_HEX);
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-request-id"), 0, "X-Request-Id", kept.base,
                          kept.len);
    if (req->res.status < 400 || h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"))) {
        h2o_setup_next_ostream(req, slot);
        return;
    }
    char *body = denial_error_body("UNSUPPORTED", sentence_for(req->res.status), &len);
    struct replacing *r = (struct replacing *)h2o_add_ostream(req, sizeof(*r), slot);
    r->super.do_send = send_replacement;
    r->body = h2o_strdup(&req->pool, body, len);
    free(body);
    req->res.content_length = len;
    h2o_set_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, H2O_STRLIT("application/json"), 1);
    h2o_setup_next_ostream(req, &r->super.next);
}

static void on_log(h2o_logger_t *self, h2o_req_t *req) {
    exchange_log_early(req, sentence_for(req->res.status));
    loop_linger(loop_connection(req));
}

void early_register(h2o_hostconf_t *host) {
    h2o_create_filter(&host->fallback_path, sizeof(h2o_filter_t))->on_setup_ostream = on_setup;
    h2o_create_logger(&host->fallback_path, sizeof(h2o_logger_t))->log_access = on_log;
}
