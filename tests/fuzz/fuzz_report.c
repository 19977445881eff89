// SPDX-License-Identifier: Apache-2.0
//
// A machine's report from a stranger: it is refused with a sentence, or what is kept of it is bounded, and a report
// that reads back as the same.

#include "gateway/compliance/told.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {""};
    struct told *t = told_parse((const char *)data, size, &err);
    if (t == NULL) {
        require(err.text[0] != '\0');
        return 0;
    }
    require(t->len <= TOLD_TEXT_MAX && strlen(t->text) == t->len && memchr(t->text, '\n', t->len) == NULL);
    require(t->verdict == TOLD_OPEN || t->open == 0);
    require(t->machine[0] != '\0');
    struct told *again = told_parse(t->text, t->len, &err);
    require(again != NULL && strcmp(again->text, t->text) == 0 && again->verdict == t->verdict);
    told_free(again);
    told_free(t);
    return 0;
}
