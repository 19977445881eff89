// SPDX-License-Identifier: Apache-2.0
//
// The control socket, both sides.

#include "gateway/front/control.h"

#include "mirrors/base/mem.h"

#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

struct control {
    control_reload_fn reload;
    void *ctx;
    pthread_t thread;
    int fd, stop_fd;
    char *path;
};

static bool make_address(const char *path, struct sockaddr_un *out, struct err *err) {
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(out->sun_path))
        return err_set(err, "control: the path %s is longer than a Unix socket's may be", path);
    memcpy(out->sun_path, path, strlen(path));
    return true;
}

static void set_timeouts(int fd, int seconds) {
    struct timeval tv = {.tv_sec = seconds};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static int connect_to(const struct sockaddr_un *at) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/// One line, without its end.
static bool read_line(int fd, char out[CONTROL_LINE_MAX]) {
    size_t n = 0;
    while (n + 1 < CONTROL_LINE_MAX) {
        ssize_t got = read(fd, out + n, 1);
        if (got != 1 || out[n] == '\n')
            break;
        n++;
    }
    out[n] = '\0';
    return n > 0;
}

static bool write_line(int fd, const char *text) {
    char line[CONTROL_LINE_MAX + 1];
    int n = snprintf(line, sizeof(line), "%s\n", text);
    return n > 0 && send(fd, line, strnlen(line, sizeof(line) - 1), MSG_NOSIGNAL) == n;
}

// --- the gateway's side ---

static void serve(struct control *c, int fd) {
    char line[CONTROL_LINE_MAX], answer[CONTROL_LINE_MAX], hash[CONTROL_HASH_MAX + 1];
    struct err err = {""};
    set_timeouts(fd, 5);
    if (!read_line(fd, line))
        return;
    if (strcmp(line, "reload") != 0)
        snprintf(answer, sizeof(answer), "error unknown command");
    else if (c->reload(c->ctx, hash, &err))
        snprintf(answer, sizeof(answer), "ok %s", hash);
    else
        snprintf(answer, sizeof(answer), "error %s", err.text);
    write_line(fd, answer);
}

static void *run(void *arg) {
    struct control *c = arg;
    struct pollfd watched[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = c->stop_fd, .events = POLLIN}};
    while (poll(watched, 2, -1) >= 0 || errno == EINTR) {
        if (watched[1].revents != 0)
            break;
        int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        serve(c, fd);
        close(fd);
    }
    return NULL;
}

static void make_folder(const char *path) {
    char *copy = mem_strdup(path);
    mkdir(dirname(copy), 0700);
    free(copy);
}

/// A socket that a dead gateway left; any other file is not ours to remove.
static bool remove_left_over(const char *path, struct err *err) {
    struct stat st;
    if (lstat(path, &st) != 0)
        return true;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, "control: %s is there and is no socket", path);
    unlink(path);
    return true;
}

static bool open_socket(struct control *c, struct err *err) {
    struct sockaddr_un at;
    if (!make_address(c->path, &at, err))
        return false;
    int other = connect_to(&at);
    if (other >= 0) {
        close(other);
        return err_set(err, "control: another gateway answers on %s: give this one a \"control\" of its own, or null",
                       c->path);
    }
    make_folder(c->path);
    if (!remove_left_over(c->path, err))
        return false;
    mode_t mask = umask(0177);
    bool ok = bind(c->fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(c->fd, 8) == 0;
    umask(mask);
    return ok || err_set(err, "control: cannot listen on %s: %s", c->path, strerror(errno));
}

struct control *control_new(const char *path, control_reload_fn reload, void *ctx, struct err *err) {
    struct control *c = mem_zalloc(1, sizeof(*c));
    c->reload = reload;
    c->ctx = ctx;
    c->path = mem_strdup(path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (c->fd >= 0 && c->stop_fd >= 0 && open_socket(c, err) && pthread_create(&c->thread, NULL, run, c) == 0)
        return c;
    close(c->fd);
    close(c->stop_fd);
    free(c->path);
    free(c);
    return NULL;
}

void control_free(struct control *c) {
    if (c == NULL)
        return;
    eventfd_write(c->stop_fd, 1);
    pthread_join(c->thread, NULL);
    unlink(c->path);
    close(c->fd);
    close(c->stop_fd);
    free(c->path);
    free(c);
}

// --- the command's side ---

bool control_ask(const char *path, const char *command, char answer[CONTROL_LINE_MAX], struct err *err) {
    struct sockaddr_un at;
    if (!make_address(path, &at, err))
        return false;
    int fd = connect_to(&at);
    if (fd < 0)
        return err_set(err, "no gateway answers on %s: %s", path, strerror(errno));
    set_timeouts(fd, CONTROL_WAIT_S);
    bool ok = write_line(fd, command) && read_line(fd, answer);
    close(fd);
    return ok || err_set(err, "the gateway on %s gave no answer", path);
}
