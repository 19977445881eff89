// SPDX-License-Identifier: Apache-2.0
//
// POST /pullgate/v1/report: what a machine found about itself. The answer says how the gateway judges it, and nothing
// of what was sent.

#include "gateway/front/own.h"

#include "gateway/compliance/reports.h"
#include "gateway/front/answer.h"

#include <stdio.h>
#include <string.h>

/// A name that was verified, or NULL.
static const char *name_of(const struct exchange *ex) {
    return ex->asker.name != NULL && ex->asker.name[0] != '\0' ? ex->asker.name : NULL;
}

static bool slowed(struct exchange *ex, const char *address) {
    char seconds[16];
    unsigned wait = reports_wait(ex->gateway->reports, name_of(ex), address, ex->now);
    if (wait == 0)
        return false;
    snprintf(seconds, sizeof(seconds), "%u", wait);
    ex->reason = REASON_REQUEST;
    answer_slow_down(ex, seconds, "this machine, or others at its address, report too often");
    return true;
}

static enum compliance judge(const struct exchange *ex, const struct told *told) {
    struct compliance_terms terms = {ex->now, ex->config->compliance.outdated_after_s, ex->config->site_hash};
    return compliance_judge(told, ex->now, &terms, NULL);
}

static void say(struct exchange *ex, enum compliance status) {
    char body[64];
    int len = snprintf(body, sizeof(body), "{\"kept\":true,\"status\":\"%s\"}\n", compliance_word(status));
    struct answer a = {.status = 200,
                       .content_type = "application/json",
                       .body = body,
                       .len = (size_t)len,
                       .content_length = SIZE_MAX,
                       .uncached = true};
    answer_send(ex, &a);
}

void report_start(struct exchange *ex) {
    char address[PEER_TEXT_MAX];
    struct err err;
    exchange_client(ex, address);
    if (slowed(ex, address))
        return;
    h2o_iovec_t body = ex->req->entity;
    struct told *told = told_parse(body.base != NULL ? body.base : "", body.len, &err);
    if (told == NULL) {
        ex->reason = REASON_REQUEST;
        answer_error(ex, 400, "UNSUPPORTED", err.text);
        return;
    }
    enum compliance status = judge(ex, told);
    if (reports_keep(ex->gateway->reports, name_of(ex), address, told, ex->now))
        say(ex, status);
    else
        answer_error(ex, 503, "UNAVAILABLE",
                     "as many identified machines are kept as there may be, and this one is not identified");
}
