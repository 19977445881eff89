// SPDX-License-Identifier: Apache-2.0
//
// A hosts.toml, read as both containerds do. Whatever is in it, somebody is asked, and a file that is ignored means the
// registry itself.

#include "gateway/doctor/hosts_dir.h"
#include "gateway/doctor/hosts_toml.h"
#include "mirrors/base/mem.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as(enum hosts_reader reader, const char *text, size_t len) {
    struct hosts_file f;
    hosts_read(reader, text, len, "/d", &f);
    if (f.count == 0 || f.entries == NULL)
        abort();
    if (f.problem != HOSTS_FINE && (f.count != 1 || !f.entries[0].itself || f.why.text[0] == '\0'))
        abort();
    for (size_t i = 0; i < f.count; i++)
        if ((f.entries[i].keys.count & 1) != 0 || (!f.entries[i].itself && f.entries[i].host == NULL))
            abort();
    hosts_deinit(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_as(HOSTS_CONTAINERD_1, (const char *)data, size);
    read_as(HOSTS_CONTAINERD_2, (const char *)data, size);
    read_as(HOSTS_CONTAINERD_2_2, (const char *)data, size);
    char *name = mem_strndup((const char *)data, size);
    free(hosts_dir_registry(name));
    free(name);
    return 0;
}
