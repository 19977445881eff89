// SPDX-License-Identifier: Apache-2.0
//
// Which version of a client is installed: asked of the program itself, in the folders where daemons are installed,
// never by PATH, with a bound on time and output. See common.h.

#include "gateway/clients/common.h"

#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ASK_MS = 5000, ANSWER_MAX = 4096 };

unsigned version_major(const char *version) {
    return (unsigned)strtoul(version, NULL, 10);
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/// Until it ends, says enough, or time is up.
static size_t read_answer(int fd, char answer[ANSWER_MAX]) {
    size_t len = 0;
    for (int64_t end = now_ms() + ASK_MS, left; len < ANSWER_MAX - 1 && (left = end - now_ms()) > 0;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)left) <= 0)
            break;
        ssize_t got = read(fd, answer + len, ANSWER_MAX - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    answer[len] = '\0';
    return len;
}

static bool start(const char *program, int output, pid_t *child) {
    char *arguments[] = {(char *)program, (char *)"--version", NULL};
    char *environment[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", (char *)"LC_ALL=C", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    bool started = posix_spawn(child, program, &actions, NULL, arguments, environment) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return started;
}

static bool ask(const char *program, char answer[ANSWER_MAX]) {
    int ends[2];
    pid_t child;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    bool started = start(program, ends[1], &child);
    close(ends[1]);
    size_t len = started ? read_answer(ends[0], answer) : 0;
    close(ends[0]);
    if (started) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return len > 0;
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

bool installed_version(const struct client_options *options, const char *program, char version[VERSION_TEXT_MAX]) {
    static const char *const folders[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/bin"};
    if (!options->look || (options->root[0] != '\0' && strcmp(options->root, "/") != 0))
        return false;
    bool found = false;
    for (size_t i = 0; !found && i < sizeof folders / sizeof folders[0]; i++) {
        char answer[ANSWER_MAX];
        char *path = mem_printf("%s/%s", folders[i], program);
        found = access(path, X_OK) == 0 && ask(path, answer) && version_find(answer, version);
        free(path);
    }
    return found;
}
