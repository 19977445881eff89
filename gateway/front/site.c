// SPDX-License-Identifier: Apache-2.0
//
// GET /pullgate/v1/site: the description that the configuration was given when it was loaded.

#include "gateway/front/own.h"

#include "gateway/front/answer.h"

void site_start(struct exchange *ex) {
    if (ex->config->site == NULL) {
        answer_error(
            ex, 404, "UNSUPPORTED",
            "this gateway cannot describe its site: write \"clients.gateway\", or see what `pullgate check` says");
        return;
    }
    struct answer a = {.status = 200,
                       .content_type = "application/json",
                       .body = ex->config->site,
                       .len = ex->config->site_len,
                       .content_length = SIZE_MAX,
                       .uncached = true};
    answer_send(ex, &a);
}
