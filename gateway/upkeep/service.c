// SPDX-License-Identifier: Apache-2.0
//
// The store's socket, both sides.

#include "gateway/upkeep/service.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 8, READ_PIECE = 16 * 1024 };

static const char socket_name[] = "store.sock";

static bool make_address(const char *directory, struct sockaddr_un *out, struct err *err) {
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    int len = snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", directory, socket_name);
    if (len < 0 || (size_t)len >= sizeof(out->sun_path))
        return err_set(err, "store.directory: %s is longer than a Unix socket's path may be", directory);
    return true;
}

static void set_timeouts(int fd, int receive_s, int send_s) {
    struct timeval receive = {.tv_sec = receive_s}, send = {.tv_sec = send_s};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof(receive));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof(send));
}

static bool send_all(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

// --- a descriptor that comes with the first bytes ---

/// The request's first bytes, and the descriptor that was sent with them (else -1).
static ssize_t receive_first(int fd, char *data, size_t size, int *passed) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {data, size};
    // Room for one descriptor and not for two (alignment), which nobody would close.
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int))};
    *passed = -1;
    ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(passed, CMSG_DATA(c), sizeof(int));
    return n;
}

static bool send_first(int fd, const char *data, size_t len, int pass) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {(char *)data, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (pass >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pass, sizeof(int));
    }
    ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
    return n > 0 && send_all(fd, data + n, len - (size_t)n);
}

// --- the gateway's side ---

struct service {
    struct upkeep upkeep;
    struct sockaddr_un address;
    int fd, stop_fd;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t commands; ///< That run now.
};

struct visit {
    struct service *service;
    int fd;
};

static bool say(void *ctx, const char *line) {
    struct visit *v = ctx;
    return !atomic_load(&v->service->stopping) && send_all(v->fd, line, strlen(line)) && send_all(v->fd, "\n", 1);
}

/// Up to the end of the line.
static bool read_request(int fd, struct buf *request, int *passed) {
    char piece[READ_PIECE];
    ssize_t n = receive_first(fd, piece, sizeof(piece), passed);
    for (; n > 0; n = recv(fd, piece, sizeof(piece), 0)) {
        const char *end = memchr(piece, '\n', (size_t)n);
        if (!buf_add(request, piece, end != NULL ? (size_t)(end - piece) : (size_t)n))
            return false;
        if (end != NULL)
            return true;
    }
    return false;
}

static void *serve(void *arg) {
    struct visit *v = arg;
    struct service *s = v->service;
    struct buf request;
    int passed = -1;
    buf_init(&request, UPKEEP_REQUEST_MAX);
    set_timeouts(v->fd, SERVICE_REQUEST_S, SERVICE_SEND_S);
    if (read_request(v->fd, &request, &passed) && request.len > 0)
        upkeep_run(&s->upkeep, request.data, request.len, passed, say, v);
    if (passed >= 0)
        close(passed);
    close(v->fd);
    buf_deinit(&request);
    free(v);
    pthread_mutex_lock(&s->lock);
    s->commands--;
    pthread_cond_signal(&s->idle);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static bool take_place(struct service *s) {
    pthread_mutex_lock(&s->lock);
    bool free_place = s->commands < SERVICE_COMMANDS_MAX;
    s->commands += free_place;
    pthread_mutex_unlock(&s->lock);
    return free_place;
}

static void give_place(struct service *s) {
    pthread_mutex_lock(&s->lock);
    s->commands--;
    pthread_mutex_unlock(&s->lock);
}

static void visit(struct service *s, int fd) {
    static const char busy[] =
        "{\"end\":{\"ok\":false,\"message\":\"the gateway is busy with other commands: try again "
        "when they are done\"}}\n";
    pthread_t thread;
    pthread_attr_t attr;
    if (!take_place(s)) {
        send_all(fd, busy, sizeof(busy) - 1);
        close(fd);
        return;
    }
    struct visit *v = mem_zalloc(1, sizeof(*v));
    *v = (struct visit){s, fd};
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, serve, v) != 0) {
        close(fd);
        free(v);
        give_place(s);
    }
    pthread_attr_destroy(&attr);
}

static void *run(void *arg) {
    struct service *s = arg;
    struct pollfd fds[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};
    while (!atomic_load(&s->stopping)) {
        if (poll(fds, 2, -1) < 0 || (fds[0].revents & POLLIN) == 0)
            continue;
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            visit(s, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            poll(&fds[1], 1, 1000); // Nothing to be done but to wait for room.
    }
    return NULL;
}

static bool open_socket(struct service *s, struct err *err) {
    unlink(s->address.sun_path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // The directory is the user's own (0700), so that nobody slips in before the mode is set.
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&s->address, sizeof(s->address)) != 0 ||
        chmod(s->address.sun_path, 0600) != 0 || listen(s->fd, BACKLOG) != 0)
        return err_set(err, "store: cannot make the socket %s: %s", s->address.sun_path, strerror(errno));
    return true;
}

struct service *service_new(const struct upkeep *u, struct err *err) {
    struct service *s = mem_zalloc(1, sizeof(*s));
    s->upkeep = *u;
    s->fd = s->stop_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    if (make_address(store_directory(u->store), &s->address, err) && open_socket(s, err)) {
        s->stop_fd = eventfd(0, EFD_CLOEXEC);
        if (s->stop_fd >= 0 && pthread_create(&s->thread, NULL, run, s) == 0)
            return s;
        err_set(err, "store: cannot serve the socket %s", s->address.sun_path);
    }
    if (s->fd >= 0)
        close(s->fd);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void service_free(struct service *s) {
    uint64_t one = 1;
    if (s == NULL)
        return;
    atomic_store(&s->stopping, true);
    if (write(s->stop_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
        pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    while (s->commands > 0)
        pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
    unlink(s->address.sun_path);
    close(s->fd);
    close(s->stop_fd);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

// --- the command's side ---

static enum service_answer open_connection(const char *directory, int *out, struct err *err) {
    struct sockaddr_un at;
    if (!make_address(directory, &at, err))
        return SERVICE_FAILED;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0) {
        *out = fd;
        return SERVICE_ANSWERED;
    }
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (saved == ENOENT || saved == ECONNREFUSED || saved == ENOTDIR)
        return SERVICE_NOBODY;
    err_set(err, "cannot speak to the gateway at %s: %s", at.sun_path, strerror(saved));
    return SERVICE_FAILED;
}

/// Hand over each whole line; what is left stays. False: `line` wants no more.
static bool hand_lines(struct buf *b, bool (*line)(void *ctx, const char *line), void *ctx) {
    size_t at = 0;
    bool more = true;
    for (char *end; more && (end = memchr(b->data + at, '\n', b->len - at)) != NULL;) {
        *end = '\0';
        more = line(ctx, b->data + at);
        at = (size_t)(end - b->data) + 1;
    }
    memmove(b->data, b->data + at, b->len - at + 1);
    b->len -= at;
    return more;
}

static bool read_lines(int fd, bool (*line)(void *ctx, const char *line), void *ctx, struct err *err) {
    struct buf b;
    char piece[READ_PIECE];
    ssize_t n;
    bool more = true;
    buf_init(&b, UPKEEP_LINE_MAX + READ_PIECE);
    while (more && (n = read(fd, piece, sizeof(piece))) > 0) {
        if (!buf_add(&b, piece, (size_t)n))
            break;
        more = hand_lines(&b, line, ctx);
    }
    bool ok = !b.overflow && (more ? n == 0 : true);
    buf_deinit(&b);
    return ok || err_set(err, "the gateway's answer broke off");
}

enum service_answer service_ask(const char *store_directory_path, const char *request, int fd,
                                bool (*line)(void *ctx, const char *line), void *ctx, struct err *err) {
    int connection;
    enum service_answer opened = open_connection(store_directory_path, &connection, err);
    if (opened != SERVICE_ANSWERED)
        return opened;
    bool ok = send_first(connection, request, strlen(request), fd) && send_all(connection, "\n", 1);
    if (!ok)
        err_set(err, "the gateway does not take the command");
    else
        ok = read_lines(connection, line, ctx, err);
    close(connection);
    return ok ? SERVICE_ANSWERED : SERVICE_FAILED;
}
