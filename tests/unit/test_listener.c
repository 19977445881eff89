// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets: opened as the configuration names them, kept across a reload, taken from systemd.

#include "gateway/front/listener.h"

#include "mirrors/base/mem.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SYSTEMD_FD = 3, TEXT_MAX = 1024 };

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

/// A port that was free a moment ago.
static unsigned free_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static int listen_on(unsigned port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    at.sin_port = htons((in_port_t)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(listen(fd, 8), 0);
    return fd;
}

static bool answers(int family, unsigned port) {
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {0};
    if (family == AF_INET)
        at.v4 = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = htons((in_port_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    else
        at.v6 = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = htons((in_port_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&at, family == AF_INET ? sizeof(at.v4) : sizeof(at.v6)) == 0;
    close(fd);
    return ok;
}

static struct config *load(const char *listeners) {
    char text[TEXT_MAX];
    struct err err = {""};
    snprintf(text, sizeof(text), "{\"listeners\": [%s], \"control\": null, \"registries\": {\"docker.io\": {}}}",
             listeners);
    struct config *c = config_parse(text, strlen(text), NULL, catalog, &err);
    cr_assert_not_null(c, "%s", err.text);
    return c;
}

static struct config *load_one(const char *host, unsigned port) {
    char text[TEXT_MAX];
    snprintf(text, sizeof(text), "{\"address\": \"%s:%u\"}", host, port);
    return load(text);
}

static void open_all(struct config *c, const struct listener_set *old, struct listener_set *out) {
    struct err err = {""};
    cr_assert(listeners_open(c, old, out, &err), "%s", err.text);
}

static unsigned port_of(int fd) {
    struct sockaddr_in at = {0};
    socklen_t len = sizeof(at);
    return getsockname(fd, (struct sockaddr *)&at, &len) == 0 ? ntohs(at.sin_port) : 0;
}

/// Do two descriptors stand for one socket? A connection that waits at one is taken from the other.
static bool same_socket(int a, int b, unsigned port) {
    int client = -1;
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((in_port_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool same = connect(client, (struct sockaddr *)&at, sizeof(at)) == 0;
    int got = same ? accept4(b, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (got >= 0)
        close(got);
    close(client);
    return same && got >= 0 && port_of(a) == port_of(b);
}

Test(listener, opens_and_closes) {
    unsigned port = free_port();
    struct config *c = load_one("127.0.0.1", port);
    struct listener_set set;
    open_all(c, NULL, &set);
    cr_assert_eq(set.count, 1);
    cr_expect(answers(AF_INET, port));
    cr_expect(fcntl(set.item[0]->fd, F_GETFD) & FD_CLOEXEC, "not for other programs");
    cr_expect(fcntl(set.item[0]->fd, F_GETFL) & O_NONBLOCK, "accepting never waits");
    cr_expect_null(set.item[0]->tls);
    listeners_close(&set);
    cr_expect_eq(set.count, 0);
    cr_expect_not(answers(AF_INET, port), "the last set closes it");
    config_unref(c);
}

Test(listener, a_reference_keeps_its_settings_alone) {
    unsigned port = free_port();
    struct config *c = load_one("127.0.0.1", port);
    struct listener_set set;
    open_all(c, NULL, &set);
    struct listener *kept = listener_ref(set.item[0]);
    config_unref(c);
    listeners_close(&set);
    cr_expect_not(answers(AF_INET, port), "a connection that drains keeps no socket open");
    cr_expect_str_eq(kept->settings->address, kept->address, "its settings live as long as it");
    listener_unref(kept);
    listener_unref(NULL);
}

Test(listener, a_copy_keeps_the_socket) {
    unsigned port = free_port();
    struct config *c = load_one("127.0.0.1", port);
    struct listener_set set, copy;
    open_all(c, NULL, &set);
    copy = listeners_copy(&set);
    listeners_close(&set);
    cr_expect(answers(AF_INET, port), "a loop that has yet to watch it finds it open");
    listeners_close(&copy);
    cr_expect_not(answers(AF_INET, port));
    config_unref(c);
}

Test(listener, the_wildcard_of_ipv6_takes_ipv4) {
    unsigned port = free_port();
    struct config *c = load_one("[::]", port);
    struct listener_set set;
    struct err err = {""};
    if (!listeners_open(c, NULL, &set, &err))
        cr_skip_test("no IPv6 here: %s", err.text);
    cr_expect(answers(AF_INET6, port));
    cr_expect(answers(AF_INET, port), "[::] is dual-stack");
    listeners_close(&set);
    config_unref(c);
}

Test(listener, a_reload_keeps_the_socket) {
    unsigned port = free_port();
    struct config *c = load_one("127.0.0.1", port), *fresh = load_one("127.0.0.1", port);
    struct listener_set old, set;
    open_all(c, NULL, &old);
    open_all(fresh, &old, &set);
    cr_expect(same_socket(old.item[0]->fd, set.item[0]->fd, port), "connections that wait are not lost");
    listeners_close(&old);
    cr_expect(answers(AF_INET, port));
    listeners_close(&set);
    config_unref(c);
    config_unref(fresh);
}

Test(listener, one_that_fails_opens_none) {
    unsigned port = free_port(), taken = free_port();
    char text[TEXT_MAX], address[64];
    int other = listen_on(taken);
    struct listener_set set = {.count = 9};
    struct err err = {""};
    snprintf(text, sizeof(text), "{\"address\": \"127.0.0.1:%u\"}, {\"address\": \"127.0.0.1:%u\"}", port, taken);
    snprintf(address, sizeof(address), "127.0.0.1:%u", taken);
    struct config *c = load(text);
    cr_expect_not(listeners_open(c, NULL, &set, &err));
    cr_expect_eq(set.count, 0);
    cr_expect(strstr(err.text, address) != NULL, "the error names the address: %s", err.text);
    cr_expect_not(answers(AF_INET, port), "nothing is kept");
    close(other);
    config_unref(c);
}

Test(listener, an_address_that_is_not_ours) {
    struct config *c = load_one("192.0.2.1", 5080);
    struct listener_set set;
    struct err err = {""};
    cr_expect_not(listeners_open(c, NULL, &set, &err));
    cr_expect(strstr(err.text, "192.0.2.1:5080") != NULL, "%s", err.text);
    config_unref(c);
}

// --- systemd ---

static void hand_over(int fd, const char *count, pid_t pid) {
    char text[32];
    snprintf(text, sizeof(text), "%d", (int)pid);
    dup2(fd, SYSTEMD_FD);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_PID", text, 1);
}

/// What happened, or NULL when all was well. In a process of its own: the descriptor that systemd uses is the test
/// framework's here.
static void in_child(const char *(*body)(const char *argument), const char *argument, const char *why) {
    int result[2];
    char text[TEXT_MAX] = "";
    cr_assert_eq(pipe2(result, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        int out = fcntl(result[1], F_DUPFD_CLOEXEC, 100);
        const char *wrong = body(argument);
        if (wrong != NULL && write(out, wrong, strlen(wrong)) < 0)
            _exit(2);
        _exit(wrong == NULL ? 0 : 1);
    }
    int status = 0;
    close(result[1]);
    ssize_t got = read(result[0], text, sizeof(text) - 1);
    waitpid(child, &status, 0);
    close(result[0]);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %s (%zd)", why, text, got);
}

static bool opens(struct config *c, struct listener_set *set) {
    struct err err = {""};
    return listeners_open(c, NULL, set, &err);
}

static const char *taken(const char *unused) {
    unsigned port = free_port();
    hand_over(listen_on(port), "1", getpid());
    struct config *c = load_one("127.0.0.1", port);
    struct listener_set set;
    if (!opens(c, &set))
        return "could not open";
    if (!same_socket(SYSTEMD_FD, set.item[0]->fd, port) || !(fcntl(set.item[0]->fd, F_GETFL) & O_NONBLOCK))
        return "not systemd's socket, or one that blocks";
    listeners_close(&set);
    if (!answers(AF_INET, port))
        return "connections do not wait for the next gateway";
    if (!opens(c, &set) || !same_socket(SYSTEMD_FD, set.item[0]->fd, port))
        return "it cannot be taken again";
    listeners_close(&set);
    config_unref(c);
    return NULL;
}

Test(listener, taken_from_systemd) {
    in_child(taken, NULL, "a socket that systemd listens on");
}

static const char *unclaimed(const char *unused) {
    unsigned port = free_port(), other = free_port();
    char address[HOSTPORT_TEXT_MAX + 1], expected[64];
    struct listener_set set;
    hand_over(listen_on(port), "1", getpid());
    struct config *named = load_one("127.0.0.1", port), *unnamed = load_one("127.0.0.1", other);
    if (!opens(named, &set) || listeners_unclaimed(&set, 0, address))
        return "a socket that a listener names is called unclaimed";
    listeners_close(&set);
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", port);
    if (!opens(unnamed, &set) || !listeners_unclaimed(&set, 0, address) || strcmp(address, expected) != 0)
        return "a socket that no listener names is not told";
    if (listeners_unclaimed(&set, 1, address))
        return "told twice";
    listeners_close(&set);
    config_unref(named);
    config_unref(unnamed);
    return NULL;
}

Test(listener, a_socket_that_nobody_serves_is_told) {
    in_child(unclaimed, NULL, "systemd's socket and no listener for it");
}

static const char *somebody_elses(const char *unused) {
    unsigned port = free_port();
    hand_over(listen_on(port), "1", getppid());
    struct config *c = load_one("127.0.0.1", port);
    struct listener_set set;
    bool opened = opens(c, &set);
    config_unref(c);
    return opened ? "taken although LISTEN_PID names another process" : NULL;
}

Test(listener, another_processs_sockets_are_left_alone) {
    in_child(somebody_elses, NULL, "LISTEN_PID of another process");
}

static const char *opened_anew(const char *count) {
    unsigned port = free_port();
    hand_over(open("/dev/null", O_RDONLY | O_CLOEXEC), count, getpid());
    struct config *c = load_one("127.0.0.1", port);
    struct listener_set set;
    if (!opens(c, &set) || !answers(AF_INET, port))
        return "not opened anew";
    listeners_close(&set);
    config_unref(c);
    return NULL;
}

static const struct {
    const char *why, *count;
} counts[] = {{"none", "0"},         {"negative", "-1"},
              {"not a number", "x"}, {"more than can be", "100000"},
              {"empty", ""},         {"one that is no socket", "1"}};

Test(listener, what_systemd_may_say_instead) {
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        in_child(opened_anew, counts[i].count, counts[i].why);
}
