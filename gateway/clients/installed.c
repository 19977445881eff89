// SPDX-License-Identifier: Apache-2.0
//
// Which version of a client is installed: asked of the program itself, in the folders where daemons are installed,
// never by PATH, with a bound on time and output. See common.h.

#include "gateway/clients/common.h"

#include "gateway/clients/run.h"
#include "mirrors/base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ASK_SECONDS = 5, ANSWER_MAX = 4096 };

unsigned version_major(const char *version) {
    return (unsigned)strtoul(version, NULL, 10);
}

bool version_find(const char *answer, char version[VERSION_TEXT_MAX]) {
    for (const char *at = answer; *at != '\0'; at++) {
        bool begins = at == answer || isspace((unsigned char)at[-1]) ||
                      (at[-1] == 'v' && (at == answer + 1 || isspace((unsigned char)at[-2])));
        size_t len = strspn(at, "0123456789.");
        if (!begins || !isdigit((unsigned char)*at) || memchr(at, '.', len) == NULL || len >= VERSION_TEXT_MAX)
            continue;
        memcpy(version, at, len);
        version[len] = '\0';
        return true;
    }
    return false;
}

static bool ask(const char *program, char version[VERSION_TEXT_MAX]) {
    const char *const argv[] = {program, "--version", NULL};
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
    struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    bool found =
        program_run(argv, env, ASK_SECONDS, &answer) == 0 && answer.data != NULL && version_find(answer.data, version);
    buf_deinit(&answer);
    return found;
}

bool installed_version(const struct client_options *options, const char *program, char version[VERSION_TEXT_MAX]) {
    static const char *const folders[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/bin"};
    if (!options->look || (options->root[0] != '\0' && strcmp(options->root, "/") != 0))
        return false;
    bool found = false;
    for (size_t i = 0; !found && i < sizeof folders / sizeof folders[0]; i++) {
        char *path = mem_printf("%s/%s", folders[i], program);
        found = access(path, X_OK) == 0 && ask(path, version);
        free(path);
    }
    return found;
}
