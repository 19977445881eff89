// SPDX-License-Identifier: Apache-2.0
//
// Running another program; see run.h.

#include "gateway/clients/run.h"

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

/// What can be had without waiting; false: there will be no more.
static bool take(int fd, struct buf *out) {
    char piece[4096];
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 && errno == EAGAIN;
        size_t room = out->max - out->len;
        buf_add(out, piece, (size_t)got < room ? (size_t)got : room);
        if (room == 0) // Whoever talks without end is not listened to without end.
            return true;
    }
}

/// It may be collected with waitpid().
static bool has_ended(pid_t pid) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

/// Until the program itself ends: a child that it left behind may keep the pipe for as long as it lives. False: the
/// time is over.
static bool listen_to(pid_t pid, int fd, int64_t end, struct buf *out) {
    enum { LOOK_MS = 20 };
    for (bool open = true;;) {
        bool over = has_ended(pid);
        open = open && take(fd, out);
        if (over)
            return true;
        if (clock_ms() >= end)
            return false;
        struct pollfd waiting = {.fd = open && out->len < out->max ? fd : -1, .events = POLLIN};
        poll(&waiting, 1, LOOK_MS);
    }
}

int program_run(const char *const *argv, const char *const *env, unsigned seconds, struct buf *out) {
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int64_t end = clock_ms() + (int64_t)seconds * 1000;
    pid_t pid = start(argv, env, ends[1]);
    close(ends[1]);
    bool ended = pid >= 0 && listen_to(pid, ends[0], end, out);
    close(ends[0]);
    if (pid < 0)
        return -1;
    kill(-pid, SIGKILL); // It, or what it left behind.
    waitpid(pid, &status, 0);
    if (!ended)
        return -2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
