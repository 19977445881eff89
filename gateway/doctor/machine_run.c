// SPDX-License-Identifier: Apache-2.0
//
// Running another program for what it says, bounded in time and in length.

#include "gateway/doctor/machine.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool has_name(const char *const *env, const char *assignment) {
    size_t len = strcspn(assignment, "=") + 1;
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, assignment, len) == 0)
            return true;
    return false;
}

/// This process's environment with `more` over it; the list is freed by the caller, its strings are not its own.
static const char **environment(const char *const *more) {
    size_t count = 0;
    const char **list = mem_zalloc(1, sizeof *list);
    for (size_t part = 0; part < 2; part++)
        for (const char *const *at = part == 0 ? (const char *const *)environ : more; at != NULL && *at != NULL; at++) {
            if (part == 0 && has_name(more, *at))
                continue;
            list = mem_resize(list, count + 2, sizeof *list);
            list[count++] = *at;
            list[count] = NULL;
        }
    return list;
}

static pid_t start(const char *const *argv, const char *const *env, int output) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP); // So that its children end with it.
    const char **list = environment(env);
    pid_t pid = -1;
    if (posix_spawnp(&pid, argv[0], &actions, &attributes, (char *const *)argv, (char *const *)list) != 0)
        pid = -1;
    free(list);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return pid;
}

/// True: it closed its outputs; false: the time is over.
static bool collect(int fd, int64_t end, struct buf *out) {
    char piece[4096];
    for (;;) {
        int64_t left = end - clock_ms();
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (left <= 0)
            return false;
        if (poll(&waiting, 1, left > 1000 ? 1000 : (int)left) <= 0)
            continue;
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return true;
        size_t room = out->max - out->len;
        buf_add(out, piece, (size_t)got < room ? (size_t)got : room);
    }
}

static int ended(pid_t pid, int64_t end) {
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_ms() >= end) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -2;
        }
        usleep(5000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int machine_run(const char *const *argv, const char *const *env, unsigned seconds, struct buf *out) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    int64_t end = clock_ms() + (int64_t)seconds * 1000;
    pid_t pid = start(argv, env, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -1;
    }
    collect(ends[0], end, out);
    close(ends[0]);
    return ended(pid, end);
}
