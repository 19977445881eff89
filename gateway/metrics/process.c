// SPDX-License-Identifier: Apache-2.0
//
// Figures of this process from /proc.

#include "gateway/metrics/process.h"

#include "gateway/metrics/text.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { STAT_MAX = 1024, START_TIME_FIELD = 22, NAME_FIELD = 2 };

static bool read_file(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t len = fread(out, 1, size - 1, file);
    fclose(file);
    out[len] = '\0';
    return len > 0;
}

static void write_memory(struct buf *b) {
    char text[STAT_MAX];
    uint64_t all = 0, resident = 0, page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (!read_file("/proc/self/statm", text, sizeof(text)) ||
        sscanf(text, "%" SCNu64 " %" SCNu64, &all, &resident) != 2)
        return;
    text_single(b, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident * page,
                TEXT_WHOLE);
    text_single(b, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", all * page, TEXT_WHOLE);
}

static uint64_t micros(const struct timeval *t) {
    return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

static void write_cpu(struct buf *b) {
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) != 0)
        return;
    text_single(b, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
                micros(&used.ru_utime) + micros(&used.ru_stime), TEXT_MICRO);
}

static void write_descriptors(struct buf *b) {
    struct rlimit limit;
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e = NULL; dir != NULL && (e = readdir(dir)) != NULL;)
        count += e->d_name[0] != '.';
    if (dir != NULL) {
        closedir(dir);
        text_single(b, "process_open_fds", "gauge", "Number of open file descriptors.", count - 1, // Its own.
                    TEXT_WHOLE);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        text_single(b, "process_max_fds", "gauge", "Maximum number of open file descriptors.", limit.rlim_cur,
                    TEXT_WHOLE);
}

/// When the process began, in clock ticks after the machine did. The name, in parentheses, may have spaces of its own.
static bool start_ticks(uint64_t *ticks) {
    char text[STAT_MAX];
    if (!read_file("/proc/self/stat", text, sizeof(text)))
        return false;
    const char *at = strrchr(text, ')');
    for (int field = NAME_FIELD; at != NULL && field < START_TIME_FIELD; field++)
        at = strchr(at + 1, ' ');
    return at != NULL && sscanf(at, "%" SCNu64, ticks) == 1;
}

static int64_t millis(clockid_t clock) {
    struct timespec ts = {0};
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void write_start(struct buf *b) {
    uint64_t ticks = 0;
    if (!start_ticks(&ticks))
        return;
    int64_t booted = millis(CLOCK_REALTIME) - millis(CLOCK_BOOTTIME);
    int64_t began = booted + (int64_t)(ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
    text_single(b, "process_start_time_seconds", "gauge", "Start time of the process since the Unix epoch in seconds.",
                began > 0 ? (uint64_t)(began + 500) / 1000 : 0, TEXT_WHOLE); // Rounded, so that it does not waver.
}

void process_write(struct buf *b) {
    write_memory(b);
    write_cpu(b);
    write_descriptors(b);
    write_start(b);
}
