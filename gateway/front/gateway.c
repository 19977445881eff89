// SPDX-License-Identifier: Apache-2.0
//
// What all loops share: the current configuration.

#include "gateway/front/gateway.h"

struct config *gateway_config(struct gateway *g) {
    pthread_mutex_lock(&g->lock);
    struct config *c = config_ref(g->config);
    pthread_mutex_unlock(&g->lock);
    return c;
}

void gateway_set_config(struct gateway *g, struct config *c) {
    content_forget(g->content); // Before the swap: verdicts are kept by the configuration's address, which may recur.
    pthread_mutex_lock(&g->lock);
    struct config *old = g->config;
    g->config = c;
    pthread_mutex_unlock(&g->lock);
    config_unref(old);
}
