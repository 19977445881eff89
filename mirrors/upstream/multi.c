// SPDX-License-Identifier: Apache-2.0
//
// libcurl tells which descriptors it wants watched (on_socket) and when it wants to be called at the latest
// (on_timer); epoll and an eventfd do the rest.

#include "mirrors/upstream/multi.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_PER_TURN = 256 };

struct multi {
    CURLM *curl;
    struct self *self;
    int epoll_fd, wake_fd;
    int64_t due_ms; ///< When libcurl wants to be called, -1: not at all.
    int *sockets;   ///< Open ones.
    size_t socket_count, socket_room;
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known) {
    struct multi *m = ctx;
    struct epoll_event event = {.data.fd = fd};
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(m->epoll_fd, EPOLL_CTL_DEL, fd, &event);
        curl_multi_assign(m->curl, fd, NULL);
        return 0;
    }
    if (what & CURL_POLL_IN)
        event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        event.events |= EPOLLOUT;
    // The descriptor's number may be one that was closed behind libcurl's back: then it is not in epoll any more.
    if (known == NULL || epoll_ctl(m->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
        epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(m->curl, fd, m);
    return 0;
}

static int on_timer(CURLM *curl, long timeout_ms, void *ctx) {
    struct multi *m = ctx;
    m->due_ms = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms;
    return 0;
}

static bool watch_wake(struct multi *m) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = m->wake_fd};
    return epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, m->wake_fd, &event) == 0;
}

struct multi *multi_new(long connections, struct err *err) {
    struct multi *m = mem_zalloc(1, sizeof(*m));
    m->curl = curl_multi_init();
    assert(m->curl != NULL);
    m->due_ms = -1;
    m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->epoll_fd < 0 || m->wake_fd < 0 || !watch_wake(m)) {
        err_set(err, "cannot make an epoll descriptor: %s", strerror(errno));
        multi_free(m);
        return NULL;
    }
    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, connections);
    curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    return m;
}

void multi_free(struct multi *m) {
    if (m == NULL)
        return;
    curl_multi_cleanup(m->curl); // Closes kept connections, which still calls on_socket().
    if (m->epoll_fd >= 0)
        close(m->epoll_fd);
    if (m->wake_fd >= 0)
        close(m->wake_fd);
    free(m->sockets);
    free(m);
}

CURLM *multi_handle(struct multi *m) {
    return m->curl;
}

void multi_set_self(struct multi *m, struct self *self) {
    m->self = self;
}

struct self *multi_self(const struct multi *m) {
    return m->self;
}

void multi_opened(struct multi *m, int fd) {
    if (m->socket_count == m->socket_room) {
        m->socket_room = m->socket_room * 2 + 16;
        m->sockets = mem_resize(m->sockets, m->socket_room, sizeof(*m->sockets));
    }
    m->sockets[m->socket_count++] = fd;
}

void multi_closed(struct multi *m, int fd) {
    for (size_t i = 0; i < m->socket_count; i++) {
        if (m->sockets[i] == fd) {
            m->sockets[i] = m->sockets[--m->socket_count];
            return;
        }
    }
}

static int port_of(int fd) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
        return -1;
    return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
                                          : ((struct sockaddr_in *)&ss)->sin_port);
}

int multi_find(const struct multi *m, int local_port) {
    for (size_t i = 0; i < m->socket_count; i++)
        if (port_of(m->sockets[i]) == local_port)
            return m->sockets[i];
    return -1;
}

void multi_wake(struct multi *m) {
    eventfd_write(m->wake_fd, 1);
}

static void act(struct multi *m, const struct epoll_event *event) {
    int running, mask = 0;
    eventfd_t count;
    if (event->data.fd == m->wake_fd) {
        eventfd_read(m->wake_fd, &count);
        return;
    }
    // A hang-up alone makes libcurl say no more than "select/poll returned error"; reading tells the reason.
    if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        mask |= CURL_CSELECT_IN;
    if (event->events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    curl_multi_socket_action(m->curl, event->data.fd, mask, &running);
}

static void act_on_time(struct multi *m) {
    int running;
    if (m->due_ms < 0 || clock_ms() < m->due_ms)
        return;
    m->due_ms = -1; // libcurl sets the next one in the call.
    curl_multi_socket_action(m->curl, CURL_SOCKET_TIMEOUT, 0, &running);
}

static int wait_ms(const struct multi *m, int max_wait_ms) {
    if (m->due_ms < 0)
        return max_wait_ms;
    int64_t left = m->due_ms - clock_ms();
    return left < 0 ? 0 : left < max_wait_ms ? (int)left : max_wait_ms;
}

int multi_turn(struct multi *m, int max_wait_ms, void (*finished)(CURL *easy, CURLcode code)) {
    struct epoll_event events[EVENTS_PER_TURN];
    int left, count = epoll_wait(m->epoll_fd, events, EVENTS_PER_TURN, wait_ms(m, max_wait_ms));
    for (int i = 0; i < count; i++)
        act(m, &events[i]);
    act_on_time(m);
    for (CURLMsg *msg; (msg = curl_multi_info_read(m->curl, &left)) != NULL;)
        if (msg->msg == CURLMSG_DONE)
            finished(msg->easy_handle, msg->data.result);
    return count;
}
