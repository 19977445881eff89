// SPDX-License-Identifier: Apache-2.0
//
// Lingering connections: a list per loop.

#include "gateway/front/linger.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 16 * 1024, PIECES_PER_TURN = 16 };

struct lingering {
    struct lingering **list, *next;
    h2o_socket_t *sock;
    int64_t until_ms;
    size_t bytes;
};

static void end(struct lingering *l) {
    struct lingering **p = l->list;
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    h2o_socket_close(l->sock);
    free(l);
}

static void on_readable(h2o_socket_t *sock, const char *err) {
    struct lingering *l = sock->data;
    char piece[PIECE];
    ssize_t got = 1;
    for (int i = 0; i < PIECES_PER_TURN && got > 0; i++) {
        got = recv(h2o_socket_get_fd(sock), piece, sizeof(piece), MSG_DONTWAIT);
        l->bytes += got > 0 ? (size_t)got : 0;
    }
    bool ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    if (err != NULL || ended || l->bytes > LINGER_BYTES_MAX)
        end(l);
}

static size_t count_of(const struct lingering *l) {
    size_t n = 0;
    for (; l != NULL; l = l->next)
        n++;
    return n;
}

void linger_begin(struct lingering **list, h2o_socket_t *sock) {
    int fd = count_of(*list) < LINGERING_MAX ? fcntl(h2o_socket_get_fd(sock), F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    if (fd < 0)
        return;
    struct lingering *l = mem_zalloc(1, sizeof(*l));
    l->list = list;
    l->next = *list;
    *list = l;
    l->until_ms = clock_ms() + LINGER_MS;
    l->sock = h2o_evloop_socket_create(h2o_socket_get_loop(sock), fd, H2O_SOCKET_FLAG_DONT_READ);
    l->sock->data = l;
    h2o_socket_read_start(l->sock, on_readable);
}

void linger_tick(struct lingering **list, bool all) {
    int64_t now = clock_ms();
    for (struct lingering *l = *list, *next; l != NULL; l = next) {
        next = l->next;
        shutdown(h2o_socket_get_fd(l->sock), SHUT_WR);
        if (all || now > l->until_ms)
            end(l);
    }
}
