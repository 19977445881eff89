// SPDX-License-Identifier: Apache-2.0
//
// The authority in use.

#include "gateway/front/signer.h"

#include "mirrors/base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct signer {
    atomic_int refs;
    struct authority *authority;
    struct leaves *leaves;
};

static void free_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static struct authority *open_own(const struct config *config, struct err *err) {
    size_t count = 0;
    char **names = config->ca_name_constraints ? config_authority_names(config, &count) : NULL;
    struct authority *a = authority_open(config->state_directory, true, (const char *const *)names, count, err);
    free_names(names, count);
    return a;
}

struct signer *signer_open(const struct config *config, struct signer *old, struct err *err) {
    struct authority *a = config->ca_certificate != NULL ? authority_load(config->ca_certificate, config->ca_key, err)
                                                         : open_own(config, err);
    if (a == NULL)
        return NULL;
    if (old != NULL && strcmp(authority_pem(a), authority_pem(old->authority)) == 0) {
        authority_unref(a);
        return signer_ref(old);
    }
    struct signer *i = mem_zalloc(1, sizeof(*i));
    atomic_init(&i->refs, 1);
    i->authority = a;
    i->leaves = leaves_new(a);
    return i;
}

struct signer *signer_ref(struct signer *i) {
    atomic_fetch_add(&i->refs, 1);
    return i;
}

void signer_unref(struct signer *i) {
    if (i == NULL || atomic_fetch_sub(&i->refs, 1) != 1)
        return;
    leaves_unref(i->leaves);
    authority_unref(i->authority);
    free(i);
}

struct leaves *signer_leaves(struct signer *i) {
    return i->leaves;
}
