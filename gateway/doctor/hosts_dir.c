// SPDX-License-Identifier: Apache-2.0
//
// Names of host directories.

#include "gateway/doctor/hosts_dir.h"

#include "mirrors/base/mem.h"

#include <string.h>

char *hosts_dir_registry(const char *name) {
    size_t len = strlen(name);
    if (len > 2 && name[len - 1] == '_') {
        size_t digits = 0;
        while (digits < len - 1 && name[len - 2 - digits] >= '0' && name[len - 2 - digits] <= '9')
            digits++;
        if (digits > 0 && digits + 2 < len && name[len - 2 - digits] == '_')
            return mem_printf("%.*s:%.*s", (int)(len - 2 - digits), name, (int)digits, name + len - 1 - digits);
    }
    return mem_strdup(name);
}

bool hosts_dir_is_aside(const char *name) {
    return name[0] == '.' || strstr(name, ".pullgate-") != NULL;
}
