// SPDX-License-Identifier: Apache-2.0
//
// The benchmark's client: any number of connections, opened before anything is measured, that ask for one path at the
// same time and throw the content away.
//
//     pull [-s CA-FILE] [-r BYTES] [-t SECONDS] [-n TIMES] [-w WARM-PATH] PORT COUNT PATH
//
// COUNT connections to 127.0.0.1:PORT (with -s by TLS) each ask for WARM-PATH (/v2/ unless said), unmeasured, so that
// connections and TLS stand. Then all ask for PATH, TIMES in a row. -r: each reads at most so many bytes a second. -t:
// ends after so long, whatever is left. A line an answer goes to standard output: status, bytes, seconds from the
// first request until its first body byte, seconds until its last. Nothing is hashed or written, and by plain HTTP the
// kernel throws the bytes away itself, so that the client costs as little as it can. One thread, one epoll. Exit status
// 1 when an answer was not 200, or not whole without -t.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    HEAD_MAX = 16 * 1024,
    EVENTS = 256,
    TURN = READ_SIZE, ///< For each connection, then the others.
    TICK_MS = 50,
    SLOW_SOCKET = 64 * 1024,
    CONNECTIONS_MAX = 10000
};

struct options {
    const char *ca, *warm, *path;
    double rate, seconds;
    int times, port, count;
};

/// Where an answer is.
struct answer {
    char head[HEAD_MAX];
    size_t head_len;
    bool headed, whole;
    int status;
    size_t size, bytes; ///< Of the body: as announced, and so far.
    double asked, first, last;
};

struct connection {
    int fd;
    SSL *ssl; ///< NULL: plain.
    int left; ///< Answers that are still to come.
    struct answer answer;
};

static char sink[READ_SIZE];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void die(const char *what) {
    fprintf(stderr, "pull: %s: %s\n", what, strerror(errno));
    exit(2);
}

// --- reading ---

/// -1: nothing now; 0: the end. Plain content is thrown away by the kernel.
static ssize_t receive(struct connection *c, char *out, size_t len, bool content) {
    if (c->ssl == NULL) {
        ssize_t n = recv(c->fd, content ? NULL : out, len, content ? MSG_TRUNC : 0);
        if (n < 0 && errno != EAGAIN)
            die("recv");
        return n;
    }
    int n = SSL_read(c->ssl, out, (int)len);
    if (n > 0)
        return n;
    return SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ ? -1 : 0;
}

static void take_body(struct answer *a, size_t bytes) {
    if (bytes == 0 && a->size > 0)
        return;
    a->last = now();
    if (a->bytes == 0)
        a->first = a->last;
    a->bytes += bytes;
    a->whole = a->bytes >= a->size;
}

/// The head is read byte-exactly over plain HTTP too: what follows it in `head` is content.
static void parse_head(struct answer *a) {
    a->head[a->head_len] = '\0';
    char *end = strstr(a->head, "\r\n\r\n");
    if (end == NULL) {
        if (a->head_len == HEAD_MAX - 1)
            die("a head that is too long");
        return;
    }
    size_t over = a->head_len - (size_t)(end + 4 - a->head);
    *end = '\0';
    const char *length = strcasestr(a->head, "\r\ncontent-length:");
    if (length == NULL || sscanf(a->head, "HTTP/1.1 %d", &a->status) != 1)
        die("an answer without a length");
    a->size = strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
    a->headed = true;
    take_body(a, over);
}

/// Read at most `max` bytes; returns how many there were, -1 when there are no more now.
static ssize_t read_some(struct connection *c, size_t max) {
    struct answer *a = &c->answer;
    size_t room = a->headed ? READ_SIZE : HEAD_MAX - 1 - a->head_len;
    ssize_t n = receive(c, a->headed ? sink : a->head + a->head_len, max < room ? max : room, a->headed);
    if (n == 0) {
        errno = ECONNRESET;
        die("a connection ended early");
    }
    if (n < 0)
        return -1;
    if (a->headed) {
        take_body(a, (size_t)n);
    } else {
        a->head_len += (size_t)n;
        parse_head(a);
    }
    return n;
}

// --- asking ---

static void ask(struct connection *c, const char *path, double asked) {
    char request[2048];
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: pull\r\n"
                       "Accept: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
                       path);
    memset(&c->answer, 0, sizeof(c->answer));
    c->answer.asked = asked;
    ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, request, len) : send(c->fd, request, (size_t)len, 0);
    if (n != len)
        die("send");
}

static SSL *handshake(SSL_CTX *tls, int fd) {
    SSL *ssl = SSL_new(tls);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, "localhost");
    SSL_set1_host(ssl, "localhost");
    if (SSL_connect(ssl) != 1)
        die("TLS");
    return ssl;
}

static void open_connection(struct connection *c, const struct options *o, SSL_CTX *tls) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)o->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int small = SLOW_SOCKET;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (o->rate > 0)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("connect");
    c->ssl = tls != NULL ? handshake(tls, c->fd) : NULL;
    c->left = o->times;
    ask(c, o->warm, now());
    while (!c->answer.whole)
        read_some(c, SIZE_MAX);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

// --- all of them ---

static bool print(const struct answer *a, const struct options *o) {
    printf("%d %zu %.6f %.6f\n", a->status, a->bytes, a->first > 0 ? a->first - a->asked : -1,
           a->last > 0 ? a->last - a->asked : -1);
    return a->status == 200 && (a->whole || o->seconds > 0);
}

/// Take what is there, about `max` bytes, and go on to the next answer. False: an answer was not right.
static bool advance(struct connection *c, const struct options *o, size_t max, int *open) {
    bool fine = true;
    while (c->left > 0 && max > 0) {
        ssize_t n = read_some(c, o->rate > 0 ? max : SIZE_MAX); // Else whole records: TLS keeps no rest.
        if (n < 0)
            break;
        max -= (size_t)n < max ? (size_t)n : max;
        if (!c->answer.whole)
            continue;
        fine = print(&c->answer, o) && fine;
        if (--c->left > 0)
            ask(c, o->path, now());
        else
            --*open;
    }
    return fine;
}

static bool run_fast(struct connection *all, const struct options *o, int epoll, double end) {
    struct epoll_event events[EVENTS];
    bool fine = true;
    int open = o->count;
    while (open > 0 && now() < end) {
        int n = epoll_wait(epoll, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++)
            fine = advance(events[i].data.ptr, o, TURN, &open) && fine;
    }
    return fine;
}

/// Readers at a rate look at their sockets by the clock.
static bool run_slow(struct connection *all, const struct options *o, double start, double end) {
    bool fine = true;
    int open = o->count;
    while (open > 0 && now() < end) {
        usleep(TICK_MS * 1000);
        double due = (now() - start) * o->rate;
        for (int i = 0; i < o->count; i++)
            if (due > (double)all[i].answer.bytes)
                fine = advance(&all[i], o, (size_t)due - all[i].answer.bytes, &open) && fine;
    }
    return fine;
}

static bool run(struct connection *all, const struct options *o) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < o->count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &e) != 0)
            die("epoll");
    }
    double start = now(), end = o->seconds > 0 ? start + o->seconds : 1e300;
    for (int i = 0; i < o->count; i++)
        ask(&all[i], o->path, start);
    bool fine = o->rate > 0 ? run_slow(all, o, start, end) : run_fast(all, o, epoll, end);
    for (int i = 0; i < o->count; i++)
        if (all[i].left > 0)
            fine = print(&all[i].answer, o) && fine;
    return fine;
}

static bool parse(int argc, char **argv, struct options *o) {
    *o = (struct options){.warm = "/v2/", .times = 1};
    for (int letter; (letter = getopt(argc, argv, "s:r:t:n:w:")) >= 0;) {
        switch (letter) {
        case 's':
            o->ca = optarg;
            break;
        case 'r':
            o->rate = atof(optarg);
            break;
        case 't':
            o->seconds = atof(optarg);
            break;
        case 'n':
            o->times = atoi(optarg);
            break;
        case 'w':
            o->warm = optarg;
            break;
        default:
            return false;
        }
    }
    if (argc - optind != 3)
        return false;
    o->port = atoi(argv[optind]);
    o->count = atoi(argv[optind + 1]);
    o->path = argv[optind + 2];
    return o->count > 0 && o->count <= CONNECTIONS_MAX && o->times > 0;
}

static SSL_CTX *tls_of(const struct options *o) {
    if (o->ca == NULL)
        return NULL;
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(tls, o->ca, NULL) != 1)
        die("the CA file");
    return tls;
}

int main(int argc, char **argv) {
    struct options o;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: pull [-s CA-FILE] [-r BYTES] [-t SECONDS] [-n TIMES] [-w WARM-PATH] PORT COUNT PATH\n");
        return 2;
    }
    struct connection *all = calloc((size_t)o.count, sizeof(*all));
    if (all == NULL)
        die("memory");
    SSL_CTX *tls = tls_of(&o);
    for (int i = 0; i < o.count; i++)
        open_connection(&all[i], &o, tls);
    return run(all, &o) ? 0 : 1;
}
