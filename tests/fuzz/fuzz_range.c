// SPDX-License-Identifier: Apache-2.0
//
// Range and Content-Range from strangers: whatever is understood must stay inside of the content.

#include "mirrors/oci/range.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static void resolve(const struct range *r, uint64_t size) {
    uint64_t first = 0, last = 0;
    if (range_resolve(r, size, &first, &last) == RANGE_PARTIAL)
        require(first <= last && last < size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    struct range r = range_parse(text, size);
    const uint64_t sizes[] = {0, 1, 10, 1u << 20, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        resolve(&r, sizes[i]);
    uint64_t first, last, total;
    if (content_range_parse(text, size, &first, &last, &total))
        require(first <= last && last < total);
    return 0;
}
