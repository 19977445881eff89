// SPDX-License-Identifier: Apache-2.0
//
// The log's queue and file: neither a full queue, a stuck reader, a full disk nor a rotation loses a line without
// counting it, and none of them ends the process.

#include "gateway/audit/audit.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct audit_record record(void) {
    return (struct audit_record){.event = "request", .bytes = -1, .ms = -1, .verified = -1};
}

static void nap_ms(long ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

// --- files ---

static char dir[] = "/tmp/pullgate-audit-XXXXXX";

static char *in_dir(const char *name) {
    return mem_printf("%s/%s", dir, name);
}

static void make_dir(void) {
    cr_assert(mkdtemp(dir));
}

static void remove_dir(void) {
    static const char *const names[] = {"log", "log.1", "pipe", "sub/log", "sub"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = in_dir(names[i]);
        remove(path);
        free(path);
    }
    rmdir(dir);
}

static char *slurp(const char *path) {
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s is missing", path);
    char *data = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&data, &len);
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        fwrite(block, 1, n, to);
    fclose(f);
    fclose(to);
    return data;
}

static size_t lines_of(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void write_message(struct audit *a, const char *message) {
    struct audit_record r = record();
    r.message = message;
    audit_write(a, &r);
}

static void *write_thousand(void *arg) {
    for (int i = 0; i < 1000; i++) {
        char message[32];
        snprintf(message, sizeof message, "n%d", i);
        write_message(arg, message);
    }
    return NULL;
}

Test(audit, everything_queued_is_written, .init = make_dir, .fini = remove_dir) {
    char *path = in_dir("log");
    struct err err = {0};
    struct audit *a = audit_new(path, "gw1", AUDIT_BLOCK, &err);
    cr_assert(a, "%s", err.text);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_thousand, a);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(audit_dropped(a), 0u);
    audit_free(a);
    char *text = slurp(path);
    cr_expect_eq(lines_of(text), 4000u, "audit_free() writes what is queued: %zu lines", lines_of(text));
    cr_expect_eq(strstr(text, "{\"v\":1,"), text);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 07, 0u, "others cannot read the log");
    free(text);
    free(path);
}

Test(audit, strings_are_copied_and_cut, .init = make_dir, .fini = remove_dir) {
    char *path = in_dir("log");
    struct audit *a = audit_new(path, "gw1", AUDIT_DROP, NULL);
    char *text = mem_alloc(AUDIT_FIELD_MAX * 2);
    char *hop = mem_strdup("cdn.example");
    memset(text, 'x', AUDIT_FIELD_MAX * 2 - 1);
    text[AUDIT_FIELD_MAX * 2 - 1] = '\0';
    struct audit_record r = record();
    r.user_agent = text;
    r.hops[0] = hop;
    r.hop_count = 1;
    audit_write(a, &r);
    memset(text, 'y', AUDIT_FIELD_MAX);
    memset(hop, 'y', 4);
    free(text);
    free(hop);
    audit_free(a);
    text = slurp(path);
    cr_expect(strstr(text, "\"hops\":[\"cdn.example\"]"), "%s", text);
    const char *from = strstr(text, "\"user_agent\":\"");
    cr_assert(from);
    cr_expect_eq(strspn(from + strlen("\"user_agent\":\""), "x"), AUDIT_FIELD_MAX);
    free(text);
    free(path);
}

Test(audit, reopen_after_rename, .init = make_dir, .fini = remove_dir) {
    char *path = in_dir("log");
    char *old = in_dir("log.1");
    struct audit *a = audit_new(path, "gw1", AUDIT_DROP, NULL);
    cr_assert(a);
    write_message(a, "before");
    for (int i = 0; i < 500; i++) {
        char *text = slurp(path);
        bool there = strstr(text, "before") != NULL;
        free(text);
        if (there)
            break;
        nap_ms(10);
    }
    cr_assert_eq(rename(path, old), 0);
    audit_reopen(a);
    for (int i = 0; i < 500 && access(path, F_OK) != 0; i++)
        nap_ms(10);
    cr_expect_eq(access(path, F_OK), 0, "an idle log is reopened at once, so that the old file can go");
    write_message(a, "after");
    audit_free(a);
    char *first = slurp(old);
    char *second = slurp(path);
    cr_expect(strstr(first, "before") && !strstr(first, "after"), "the old file: %s", first);
    cr_expect(strstr(second, "after") && !strstr(second, "before"), "the new file: %s", second);
    free(first);
    free(second);
    free(old);
    free(path);
}

Test(audit, a_failed_reopen_goes_on_with_the_old_file, .init = make_dir, .fini = remove_dir) {
    char *sub = in_dir("sub");
    char *path = in_dir("sub/log");
    char *kept_file = in_dir("log");
    cr_assert_eq(mkdir(sub, 0700), 0);
    struct audit *a = audit_new(path, "gw1", AUDIT_DROP, NULL);
    cr_assert(a);
    cr_assert_eq(rename(path, kept_file), 0);
    cr_assert_eq(rmdir(sub), 0);
    audit_reopen(a);
    write_message(a, "still here");
    audit_free(a);
    char *text = slurp(kept_file);
    cr_expect(strstr(text, "\"event\":\"log_reopen_failed\""), "%s", text);
    cr_expect(strstr(text, "still here"), "%s", text);
    free(text);
    free(sub);
    free(path);
    free(kept_file);
}

Test(audit, unusable_paths_are_errors) {
    struct err err = {0};
    cr_expect_null(audit_new("/nonexistent/log", "gw1", AUDIT_DROP, &err));
    cr_expect(strstr(err.text, "/nonexistent/log"), "the error names the file: %s", err.text);
    cr_expect_null(audit_new("/tmp", "gw1", AUDIT_DROP, &err), "a folder");
}

Test(audit, a_pipe_that_nobody_reads_is_an_error, .init = make_dir, .fini = remove_dir) {
    char *path = in_dir("pipe");
    cr_assert_eq(mkfifo(path, 0600), 0);
    struct err err = {0};
    cr_expect_null(audit_new(path, "gw1", AUDIT_DROP, &err), "and not a start that hangs");
    cr_expect(strstr(err.text, "nobody reads"), "%s", err.text);
    free(path);
}

Test(audit, a_full_disk_ends_nothing, .timeout = 20) {
    struct err err = {0};
    struct audit *a = audit_new("/dev/full", "gw1", AUDIT_BLOCK, &err);
    cr_assert(a, "%s", err.text);
    for (int i = 0; i < 300; i++)
        write_message(a, "lost");
    for (int i = 0; i < 500 && audit_dropped(a) < 300; i++)
        nap_ms(10);
    cr_expect_eq(audit_dropped(a), 300u, "every line that could not be written is counted: %" PRIu64, audit_dropped(a));
    audit_free(a);
}

// --- a reader that does not read ---

struct stuck {
    char *path;
    int reader;
    struct audit *a;
};

static struct stuck stuck_pipe(enum audit_on_full on_full) {
    struct stuck s = {.path = in_dir("pipe")};
    cr_assert_eq(mkfifo(s.path, 0600), 0);
    s.reader = open(s.path, O_RDONLY | O_NONBLOCK);
    struct err err = {0};
    s.a = audit_new(s.path, "gw1", on_full, &err);
    cr_assert(s.a, "%s", err.text);
    return s;
}

// More than the pipe, the writer and the queue hold.
enum { FLOOD = AUDIT_QUEUE_MAX + 4000 };

struct drain {
    int fd;
    atomic_bool stop;
    char *tail; // The last part of what was read.
    size_t lines;
};

// Reads until the pipe's other end is closed; keeps count of lines and the last 64 KiB.
static void *drain(void *arg) {
    struct drain *d = arg;
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    char block[65536];
    for (;;) {
        ssize_t n = read(d->fd, block, sizeof block);
        if (n > 0)
            fwrite(block, 1, (size_t)n, to);
        else if (n == 0 || atomic_load(&d->stop))
            break;
        else
            nap_ms(1);
    }
    fclose(to);
    d->lines = lines_of(text);
    d->tail = text;
    return NULL;
}

Test(audit, a_full_queue_drops_counts_and_tells, .init = make_dir, .fini = remove_dir, .timeout = 60) {
    struct stuck s = stuck_pipe(AUDIT_DROP);
    for (int i = 0; i < FLOOD; i++)
        write_message(s.a, "flood");
    uint64_t dropped = audit_dropped(s.a);
    cr_expect_gt(dropped, 1000u, "a stuck reader stalls nobody; what does not fit is counted: %" PRIu64, dropped);
    cr_expect_lt(dropped, (uint64_t)(FLOOD - AUDIT_QUEUE_MAX + 1), "and the queue is used: %" PRIu64, dropped);

    struct drain d = {.fd = s.reader};
    pthread_t reader;
    pthread_create(&reader, NULL, drain, &d);
    audit_free(s.a);
    pthread_join(reader, NULL);
    cr_expect_eq(d.lines, FLOOD - dropped + 1, "all others arrive, and one line more: %zu", d.lines);
    char *told = mem_printf("\"dropped\":%" PRIu64 ",", dropped);
    const char *line = strstr(d.tail, "\"event\":\"log_recovered\"");
    cr_assert(line, "recovery is told");
    cr_expect(strstr(line, told), "with the number: %.200s", line);
    cr_expect_null(strstr(line + 1, "\"event\":\"log_recovered\""), "once");
    free(told);
    free(d.tail);
    close(s.reader);
    free(s.path);
}

struct flood {
    struct audit *a;
    atomic_int written;
};

static void *flood(void *arg) {
    struct flood *f = arg;
    for (int i = 0; i < FLOOD; i++) {
        write_message(f->a, "flood");
        atomic_fetch_add(&f->written, 1);
    }
    return NULL;
}

Test(audit, on_full_block_waits_and_loses_nothing, .init = make_dir, .fini = remove_dir, .timeout = 60) {
    struct stuck s = stuck_pipe(AUDIT_BLOCK);
    struct flood f = {.a = s.a};
    pthread_t writer;
    pthread_create(&writer, NULL, flood, &f);
    int before = -1;
    while (before != atomic_load(&f.written)) { // Until it no longer moves.
        before = atomic_load(&f.written);
        nap_ms(300);
    }
    cr_expect_lt(before, (int)FLOOD, "the caller waits: %d", before);
    cr_expect_geq(before, (int)AUDIT_QUEUE_MAX, "once the queue is full: %d", before);

    struct drain d = {.fd = s.reader};
    pthread_t reader;
    pthread_create(&reader, NULL, drain, &d);
    pthread_join(writer, NULL);
    cr_expect_eq(audit_dropped(s.a), 0u);
    audit_free(s.a);
    pthread_join(reader, NULL);
    cr_expect_eq(d.lines, (size_t)FLOOD, "%zu", d.lines);
    free(d.tail);
    close(s.reader);
    free(s.path);
}

Test(audit, a_stuck_reader_does_not_stop_the_end, .init = make_dir, .fini = remove_dir, .timeout = 60) {
    struct stuck s = stuck_pipe(AUDIT_DROP);
    for (int i = 0; i < FLOOD; i++)
        write_message(s.a, "flood");
    time_t from = time(NULL);
    audit_free(s.a);
    cr_expect_leq(time(NULL) - from, AUDIT_DRAIN_SECONDS + 3, "audit_free() ends");
    close(s.reader);
    free(s.path);
}

Test(audit, a_reader_that_went_away_ends_nothing, .init = make_dir, .fini = remove_dir, .timeout = 60) {
    signal(SIGPIPE, SIG_DFL); // The worst case: nobody ignored it.
    struct stuck s = stuck_pipe(AUDIT_DROP);
    close(s.reader);
    write_message(s.a, "lost");
    for (int i = 0; i < 500 && audit_dropped(s.a) < 1; i++)
        nap_ms(10);
    cr_expect_eq(audit_dropped(s.a), 1u, "SIGPIPE ends nothing, the line is counted");

    int again = open(s.path, O_RDONLY | O_NONBLOCK);
    write_message(s.a, "back");
    struct drain d = {.fd = again};
    audit_free(s.a);
    drain(&d);
    cr_expect(strstr(d.tail, "back"), "a new reader gets what comes now: %s", d.tail);
    cr_expect(strstr(d.tail, "\"dropped\":1,"), "and is told what it missed: %s", d.tail);
    free(d.tail);
    close(again);
    free(s.path);
}
