// SPDX-License-Identifier: Apache-2.0
//
// Lines of the store's work, for people.

#include "gateway/commands/store_print.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 30, BAR_MS = 100, DIGEST_SHOWN = 19, SIZE_TEXT_MAX = 32 };

static const char *format_size(uint64_t bytes, char out[SIZE_TEXT_MAX]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1024;
    snprintf(out, SIZE_TEXT_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

static uint64_t number(const struct json *o, const char *key) {
    const struct json *value = json_get(o, key);
    return value != NULL && value->is_integer && value->integer > 0 ? (uint64_t)value->integer : 0;
}

static const char *text(const struct json *o, const char *key) {
    const char *value = json_get_string(o, key);
    return value != NULL ? value : "";
}

static bool truth(const struct json *o, const char *key) {
    const struct json *value = json_get(o, key);
    return value != NULL && value->type == JSON_BOOL && value->boolean;
}

// --- the bar ---

static void clear_bar(struct store_printer *p) {
    if (p->bar_open)
        fputs("\r\033[K", stderr);
    p->bar_open = false;
}

static void draw_bar(struct store_printer *p, const struct json *o) {
    char done_text[SIZE_TEXT_MAX], all_text[SIZE_TEXT_MAX], bar[BAR_WIDTH + 1];
    uint64_t done = number(o, "done"), all = number(o, "all");
    int64_t now = clock_ms();
    if (!p->bar || (now - p->last_ms < BAR_MS && done < all))
        return;
    p->last_ms = now;
    size_t filled = all > 0 ? (size_t)((double)BAR_WIDTH * (double)(done < all ? done : all) / (double)all) : BAR_WIDTH;
    for (size_t i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '-';
    bar[BAR_WIDTH] = '\0';
    bool bytes = strcmp(p->command, "export") != 0;
    fprintf(stderr, "\r\033[K[%s] ", bar);
    if (bytes)
        fprintf(stderr, "%s of %s  ", format_size(done, done_text), format_size(all, all_text));
    fprintf(stderr, "%.*s", STORE_PRINT_WHAT_MAX, text(o, "what"));
    fflush(stderr);
    p->bar_open = true;
}

// --- each kind of line ---

static const char *format_time(uint64_t unix_seconds, char out[SIZE_TEXT_MAX]) {
    time_t t = (time_t)unix_seconds;
    struct tm tm;
    if (unix_seconds == 0 || localtime_r(&t, &tm) == NULL || strftime(out, SIZE_TEXT_MAX, "%Y-%m-%d %H:%M", &tm) == 0)
        snprintf(out, SIZE_TEXT_MAX, "-");
    return out;
}

static void print_item(struct store_printer *p, const struct json *o) {
    char size[SIZE_TEXT_MAX], used[SIZE_TEXT_MAX];
    if (!p->head)
        printf("%-19s  %10s  %-16s  %s\n", "DIGEST", "SIZE", "LAST USED", "NAME");
    p->head = true;
    const char *repository = text(o, "repository"), *tag = text(o, "tag"), *registry = text(o, "registry");
    printf("%-.*s  %10s  %-16s  %s%s%s%s%s\n", DIGEST_SHOWN, text(o, "digest"),
           truth(o, "held") ? format_size(number(o, "size"), size) : "not held", format_time(number(o, "used"), used),
           registry[0] != '\0' ? registry : "-", repository[0] != '\0' ? "/" : "", repository,
           tag[0] != '\0' ? ":" : "", tag);
}

static void print_size(const char *label, uint64_t bytes) {
    char size[SIZE_TEXT_MAX];
    printf("%-14s %s\n", label, format_size(bytes, size));
}

static void print_stat(const struct json *o) {
    printf("%-14s %s\n", "directory", text(o, "directory"));
    print_size("held", number(o, "bytes"));
    if (number(o, "max_size") > 0)
        print_size("at most", number(o, "max_size"));
    print_size("free on disk", number(o, "file_system_free"));
    printf("%-14s %llu\n", "digests", (unsigned long long)number(o, "pieces"));
    printf("%-14s %llu\n", "tags", (unsigned long long)number(o, "tags"));
    printf("%-14s %llu\n", "repositories", (unsigned long long)number(o, "repositories"));
    printf("%-14s %s\n", "takes more", truth(o, "writable") ? "yes" : "no: its disk fails or is full, see the log");
}

static void print_removed(const struct json *o) {
    const char *tag = text(o, "tag");
    char size[SIZE_TEXT_MAX];
    bool freed = json_get(o, "freed") != NULL;
    printf("%s/%s%s%s%s%s\n", text(o, "registry"), text(o, "repository"), tag[0] != '\0' ? ":" : "", tag,
           freed ? "  " : "", freed ? format_size(number(o, "freed"), size) : "");
}

static void print_image(const struct json *o) {
    char fetched[SIZE_TEXT_MAX], held[SIZE_TEXT_MAX];
    if (truth(o, "ok"))
        printf("%s: %s fetched, %s held already\n", text(o, "image"), format_size(number(o, "fetched"), fetched),
               format_size(number(o, "held"), held));
    else
        printf("%s: FAILED: %s\n", text(o, "image"), text(o, "message"));
}

static void print_end(struct store_printer *p, const struct json *o) {
    p->ended = true;
    p->ok = truth(o, "ok");
    p->unusable = truth(o, "unusable");
    if (p->json)
        return;
    if (!p->ok)
        fprintf(stderr, "pullgate: %s\n", text(o, "message"));
    else if (text(o, "message")[0] != '\0')
        printf("%s\n", text(o, "message"));
}

static void print_line(struct store_printer *p, const struct json *root) {
    const struct json *o = root->child;
    const char *kind = o != NULL && o->key != NULL ? o->key : "";
    if (strcmp(kind, "progress") == 0) {
        draw_bar(p, o);
        return;
    }
    clear_bar(p);
    if (strcmp(kind, "end") == 0)
        print_end(p, o);
    else if (p->json)
        return;
    else if (strcmp(kind, "item") == 0)
        print_item(p, o);
    else if (strcmp(kind, "stat") == 0)
        print_stat(o);
    else if (strcmp(kind, "bad") == 0)
        printf("%s: %s\n", text(o, "digest"), text(o, "why"));
    else if (strcmp(kind, "removed") == 0)
        print_removed(o);
    else if (strcmp(kind, "image") == 0)
        print_image(o);
}

void store_print_begin(struct store_printer *p, const char *command, bool json) {
    *p = (struct store_printer){.command = command, .json = json, .bar = !json && isatty(STDERR_FILENO) == 1};
}

bool store_print(void *ctx, const char *line) {
    struct store_printer *p = ctx;
    struct err err;
    if (p->json)
        puts(line);
    struct json *root = json_parse(line, strlen(line), JSON_STRICT, &err);
    if (root != NULL)
        print_line(p, root);
    json_free(root);
    return fflush(stdout) == 0;
}

bool store_print_end(struct store_printer *p) {
    clear_bar(p);
    return p->ended && p->ok;
}
