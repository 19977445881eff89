// SPDX-License-Identifier: Apache-2.0
//
// The log's queue and its writer thread.
//
// Callers copy their record into one allocation and append it under the lock; the writer takes a few at a time, formats
// them outside the lock and writes them. The first record wakes the writer, which then waits a moment for more: waking
// it for each would cost a loop more than all else about the log. Only the writer touches the file once audit_new() has
// returned. It writes to pipes and terminals only when poll() says that there is room, so that audit_free() can end
// while a reader is stuck.

#include "gateway/audit/audit.h"

#include "gateway/audit/format.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH_RECORDS = 64,     // Taken from the queue at a time.
    BATCH_BYTES = 64 << 10, // And written as soon as they come to this.
    GATHER_MS = 10,         // How long the first record waits for more...
    GATHER_RECORDS = 1024,  // ... unless there are so many,
    GATHER_BYTES = 1 << 20, // or so many bytes.
    PIPE_CHUNK = 4096,      // What a pipe that is writable takes without blocking (Linux).
    STALL_TICK_MS = 100,    // How often a stalled writer looks whether it should end.
    LOG_FILE_MODE = 0640,
};

struct entry {
    struct entry *next;
    int64_t time_ms;
    size_t size; // Of this allocation.
    struct audit_record record;
    char text[];
};

struct audit {
    char *path; // NULL: standard output.
    char *gateway;
    enum audit_on_full on_full;
    enum audit_form form;

    pthread_mutex_t lock;
    pthread_cond_t work;     // For the writer: something to do.
    pthread_cond_t room;     // For blocked callers: the queue is no longer full.
    struct entry *head;      // Guarded by lock, as all down to stopping.
    struct entry **tail;     // Where the next entry goes.
    size_t count, bytes;     // Of what is queued.
    bool idle, gathering;    // What the writer waits for: a record, or more of them.
    bool reopen, stopping;   // Asked of the writer.
    atomic_int_fast64_t end; // Monotonic ms after which a stalled write gives up; 0: never.

    atomic_uint_fast64_t dropped; // Since the start.
    atomic_uint_fast64_t untold;  // Of those, not yet told in a log_recovered line.
    pthread_t writer;
    int fd;          // The writer's, as all below.
    bool plain_file; // Writes to it do not wait for a reader.
    bool torn;       // The last write ended inside a line.
};

static int64_t clock_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// --- copies of records ---

static const size_t string_fields[] = {
    offsetof(struct audit_record, event),      offsetof(struct audit_record, id),
    offsetof(struct audit_record, config),     offsetof(struct audit_record, listener),
    offsetof(struct audit_record, route),      offsetof(struct audit_record, client),
    offsetof(struct audit_record, who),        offsetof(struct audit_record, how),
    offsetof(struct audit_record, user_agent), offsetof(struct audit_record, method),
    offsetof(struct audit_record, registry),   offsetof(struct audit_record, repository),
    offsetof(struct audit_record, reference),  offsetof(struct audit_record, digest),
    offsetof(struct audit_record, media_type), offsetof(struct audit_record, action),
    offsetof(struct audit_record, decision),   offsetof(struct audit_record, would),
    offsetof(struct audit_record, would_rule), offsetof(struct audit_record, rule),
    offsetof(struct audit_record, reason),     offsetof(struct audit_record, upstream),
    offsetof(struct audit_record, source),     offsetof(struct audit_record, message),
};

enum { STRING_FIELDS = sizeof string_fields / sizeof *string_fields };

// The i-th of a record's strings: its fields, then its hops.
static const char **string_at(struct audit_record *r, size_t i) {
    if (i < STRING_FIELDS)
        return (const char **)(void *)((char *)r + string_fields[i]);
    return &r->hops[i - STRING_FIELDS];
}

static struct entry *entry_new(const struct audit_record *r) {
    struct audit_record copy = *r;
    if (copy.hop_count < 0)
        copy.hop_count = 0;
    if (copy.hop_count > AUDIT_HOPS_MAX)
        copy.hop_count = AUDIT_HOPS_MAX;
    size_t strings = STRING_FIELDS + (size_t)copy.hop_count;
    size_t lengths[STRING_FIELDS + AUDIT_HOPS_MAX];
    size_t size = sizeof(struct entry);
    for (size_t i = 0; i < strings; i++) {
        lengths[i] = audit_kept(*string_at(&copy, i));
        size += lengths[i] + 1;
    }

    struct entry *e = mem_alloc(size);
    char *to = e->text;
    for (size_t i = 0; i < strings; i++) {
        const char **field = string_at(&copy, i);
        if (lengths[i] > 0)
            memcpy(to, *field, lengths[i]);
        to[lengths[i]] = '\0';
        *field = to;
        to += lengths[i] + 1;
    }
    e->next = NULL;
    e->time_ms = clock_ms(CLOCK_REALTIME);
    e->size = size;
    e->record = copy;
    return e;
}

// --- the file ---

static int log_open(const char *path, struct err *err) {
    // O_NONBLOCK: a pipe that nobody reads is an error now, not a start that hangs.
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, LOG_FILE_MODE);
    if (fd < 0)
        err_set(err, "cannot open the log %s: %s", path, errno == ENXIO ? "nobody reads this pipe" : strerror(errno));
    return fd;
}

static bool is_plain_file(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_empty_file(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

static enum audit_form output_form(const char *path) {
    if (path || !isatty(STDOUT_FILENO))
        return AUDIT_JSON;
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    bool colour = term && strcmp(term, "dumb") != 0 && !(no_colour && no_colour[0]);
    return colour ? AUDIT_TERMINAL_COLOUR : AUDIT_TERMINAL;
}

// --- writing (the writer thread) ---

static bool out_of_time(struct audit *a) {
    int64_t end = atomic_load(&a->end);
    return end != 0 && clock_ms(CLOCK_MONOTONIC) >= end;
}

// Wait until the reader takes something; false when it is time to end and it does not.
static bool wait_for_reader(struct audit *a) {
    for (;;) {
        bool last = out_of_time(a);
        struct pollfd p = {.fd = a->fd, .events = POLLOUT};
        int n = poll(&p, 1, last ? 0 : STALL_TICK_MS);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true; // Errors too: write() says which.
        if (last)
            return false;
    }
}

// How much to hand to write(): for what may stall no more than is sure not to block, whole lines where possible.
static size_t chunk(const struct audit *a, const char *data, size_t len) {
    if (a->plain_file || len <= PIPE_CHUNK)
        return len;
    const char *last = memrchr(data, '\n', PIPE_CHUNK);
    return last ? (size_t)(last - data) + 1 : PIPE_CHUNK;
}

// Write all of it; how many bytes were written.
static size_t write_out(struct audit *a, const char *data, size_t len) {
    size_t done = 0;
    while (done < len) {
        if (!a->plain_file && !wait_for_reader(a))
            break;
        ssize_t n = write(a->fd, data + done, chunk(a, data + done, len - done));
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
    return done;
}

static uint64_t count_lines(const char *data, size_t len) {
    uint64_t lines = 0;
    for (const char *end = data + len; data < end && (data = memchr(data, '\n', (size_t)(end - data))); data++)
        lines++;
    return lines;
}

static void count_dropped(struct audit *a, uint64_t n) {
    atomic_fetch_add(&a->dropped, n);
    atomic_fetch_add(&a->untold, n);
}

// Write whole lines. What could not be written is forgotten; returns how many lines that were.
static uint64_t write_lines(struct audit *a, const struct buf *lines) {
    if (lines->len == 0)
        return 0;
    if (a->torn && write_out(a, "\n", 1) == 1)
        a->torn = false; // The half line is ended, so that only it is unreadable.
    if (a->torn)
        return count_lines(lines->data, lines->len);
    size_t done = write_out(a, lines->data, lines->len);
    a->torn = done > 0 && lines->data[done - 1] != '\n';
    return count_lines(lines->data + done, lines->len - done);
}

// One line of the log's own.
static bool write_own(struct audit *a, const struct audit_record *r) {
    struct buf line;
    buf_init(&line, AUDIT_LINE_MAX);
    audit_format_line(&line, r, a->gateway, clock_ms(CLOCK_REALTIME), a->form);
    bool written = write_lines(a, &line) == 0;
    buf_deinit(&line);
    return written;
}

static void tell_dropped(struct audit *a) {
    uint64_t untold = atomic_load(&a->untold);
    char message[128];
    snprintf(message, sizeof message, "%" PRIu64 " log records were dropped before this one", untold);
    struct audit_record r = {
        .event = "log_recovered", .bytes = -1, .ms = -1, .verified = -1, .dropped = untold, .message = message};
    if (write_own(a, &r))
        atomic_fetch_sub(&a->untold, untold);
}

// Is the queue well below full, so that what is told now is not at once untrue?
static bool has_recovered(struct audit *a) {
    pthread_mutex_lock(&a->lock);
    bool recovered = a->count < AUDIT_QUEUE_MAX / 2 && a->bytes < AUDIT_QUEUE_BYTES_MAX / 2;
    pthread_mutex_unlock(&a->lock);
    return recovered;
}

static void write_batch(struct audit *a, struct entry *batch) {
    struct buf lines;
    buf_init(&lines, BATCH_BYTES + AUDIT_LINE_MAX);
    uint64_t lost = 0;
    while (batch) {
        struct entry *e = batch;
        batch = e->next;
        audit_format_line(&lines, &e->record, a->gateway, e->time_ms, a->form);
        free(e);
        if (lines.len >= BATCH_BYTES || !batch) {
            lost += write_lines(a, &lines);
            buf_clear(&lines);
        }
    }
    buf_deinit(&lines);
    if (lost > 0)
        count_dropped(a, lost);
    else if (atomic_load(&a->untold) > 0 && has_recovered(a))
        tell_dropped(a);
}

static void reopen(struct audit *a) {
    struct err err = {0};
    int fd = log_open(a->path, &err);
    if (fd < 0) {
        err_prefix(&err, "the log was not reopened, writing goes on to the old file: ");
        struct audit_record r = {
            .event = "log_reopen_failed", .bytes = -1, .ms = -1, .verified = -1, .message = err.text};
        write_own(a, &r);
        return;
    }
    close(a->fd);
    a->fd = fd;
    a->plain_file = is_plain_file(fd);
    if (is_empty_file(fd))
        a->torn = false;
}

// --- the queue ---

static bool is_full(const struct audit *a, size_t more) {
    return a->count >= AUDIT_QUEUE_MAX || a->bytes + more > AUDIT_QUEUE_BYTES_MAX;
}

// Take the oldest records off the queue. Lock held.
static struct entry *take_batch(struct audit *a) {
    struct entry *first = a->head;
    struct entry **end = &first;
    for (int n = 0; *end && n < BATCH_RECORDS; n++) {
        a->count--;
        a->bytes -= (*end)->size;
        end = &(*end)->next;
    }
    a->head = *end;
    *end = NULL;
    if (!a->head)
        a->tail = &a->head;
    return first;
}

static bool has_gathered(const struct audit *a) {
    return a->count >= GATHER_RECORDS || a->bytes >= GATHER_BYTES || a->reopen || a->stopping;
}

// Give those who come next a moment. Lock held.
static void gather(struct audit *a) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += GATHER_MS * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000L;
    }
    a->gathering = true;
    while (!has_gathered(a) && pthread_cond_timedwait(&a->work, &a->lock, &end) == 0)
        continue;
    a->gathering = false;
}

// Lock held.
static void await_work(struct audit *a) {
    if (a->head || a->reopen || a->stopping)
        return;
    a->idle = true;
    while (!a->head && !a->reopen && !a->stopping)
        pthread_cond_wait(&a->work, &a->lock);
    a->idle = false;
    gather(a);
}

static void *write_for_ever(void *arg) {
    struct audit *a = arg;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        await_work(a);
        if (!a->head && !a->reopen)
            break;
        bool reopen_now = a->reopen;
        a->reopen = false;
        struct entry *batch = take_batch(a);
        pthread_cond_broadcast(&a->room);
        pthread_mutex_unlock(&a->lock);
        if (reopen_now)
            reopen(a);
        if (batch)
            write_batch(a, batch);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

// No signal is the writer's business: SIGPIPE and SIGXFSZ become errors of write(), others go to the main thread.
static bool start_writer(struct audit *a, struct err *err) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = pthread_create(&a->writer, NULL, write_for_ever, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_set(err, "cannot start the log's thread: %s", strerror(failed));
    pthread_setname_np(a->writer, "audit");
    return true;
}

// Everything but the thread.
static void release(struct audit *a) {
    if (a->path && a->fd >= 0)
        close(a->fd);
    pthread_cond_destroy(&a->room);
    pthread_cond_destroy(&a->work);
    pthread_mutex_destroy(&a->lock);
    free(a->path);
    free(a->gateway);
    free(a);
}

// Waited for by the clock that nobody sets.
static void work_init(pthread_cond_t *work) {
    pthread_condattr_t by;
    pthread_condattr_init(&by);
    pthread_condattr_setclock(&by, CLOCK_MONOTONIC);
    pthread_cond_init(work, &by);
    pthread_condattr_destroy(&by);
}

struct audit *audit_new(const char *path, const char *gateway, enum audit_on_full on_full, struct err *err) {
    int fd = path ? log_open(path, err) : STDOUT_FILENO;
    if (fd < 0)
        return NULL;
    struct audit *a = mem_zalloc(1, sizeof *a);
    a->path = mem_strdup(path);
    a->gateway = mem_strdup(gateway);
    a->on_full = on_full;
    a->form = output_form(path);
    a->fd = fd;
    a->plain_file = is_plain_file(fd);
    a->tail = &a->head;
    pthread_mutex_init(&a->lock, NULL);
    work_init(&a->work);
    pthread_cond_init(&a->room, NULL);
    if (!start_writer(a, err)) {
        release(a);
        return NULL;
    }
    return a;
}

void audit_free(struct audit *a) {
    if (!a)
        return;
    atomic_store(&a->end, clock_ms(CLOCK_MONOTONIC) + (int64_t)AUDIT_DRAIN_SECONDS * 1000);
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->work);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->writer, NULL);
    release(a);
}

// Append, waiting for room or not; false when it was full. Takes `e` over when it succeeds.
static bool enqueue(struct audit *a, struct entry *e) {
    pthread_mutex_lock(&a->lock);
    while (is_full(a, e->size) && a->on_full == AUDIT_BLOCK)
        pthread_cond_wait(&a->room, &a->lock);
    bool fits = !is_full(a, e->size);
    if (fits) {
        *a->tail = e;
        a->tail = &e->next;
        a->count++;
        a->bytes += e->size;
        if (a->idle || (a->gathering && has_gathered(a)))
            pthread_cond_signal(&a->work);
    }
    pthread_mutex_unlock(&a->lock);
    return fits;
}

void audit_write(struct audit *a, const struct audit_record *r) {
    struct entry *e = entry_new(r);
    if (enqueue(a, e))
        return;
    free(e);
    count_dropped(a, 1);
}

void audit_reopen(struct audit *a) {
    if (!a->path)
        return;
    pthread_mutex_lock(&a->lock);
    a->reopen = true;
    pthread_cond_signal(&a->work);
    pthread_mutex_unlock(&a->lock);
}

uint64_t audit_dropped(const struct audit *a) {
    return atomic_load(&a->dropped);
}
