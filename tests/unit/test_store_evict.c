// SPDX-License-Identifier: Apache-2.0
//
// Eviction: the cap is kept, the least recently used goes first, what is to be kept stays, and whoever reads goes on.

#include "tests/unit/store_kit.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEN = 100000, KIB100 = 100 * 1024 };

// In place of the real one: time passes when a test says so. The store takes its seconds from here.
static atomic_llong passed;

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += (time_t)atomic_load(&passed);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

static bool is_held(struct store *s, unsigned n) {
    struct store_facts f = kit_look(s, n, LEN);
    bool held = f.piece != NULL;
    cr_expect(!held || kit_is(f.piece, n, LEN), "right bytes");
    piece_unref(f.piece);
    return held;
}

static uint64_t bytes_of(struct store *s) {
    struct store_stats stats;
    store_stats(s, &stats);
    return stats.bytes;
}

static bool falls_below(struct store *s, uint64_t bytes) {
    for (unsigned n = 0; n < 400 && bytes_of(s) > bytes; n++)
        kit_sleep_ms(10);
    return bytes_of(s) <= bytes;
}

static void put_many(struct store *s, unsigned first, unsigned count) {
    for (unsigned n = first; n < first + count; n++)
        piece_unref(kit_put(s, n, LEN, ""));
}

static void use(struct store *s, unsigned n) {
    struct store_facts f = kit_look(s, n, LEN);
    cr_assert(f.piece != NULL);
    store_used(s, f.piece);
    piece_unref(f.piece);
}

Test(store_evict, the_least_recently_used_goes_first, .timeout = 60) {
    char *directory = kit_directory(NULL);
    struct kit_events events = {0};
    struct store_settings settings = kit_settings(directory, &events);
    struct store *s = kit_open(&settings);
    put_many(s, 0, 20);
    atomic_fetch_add(&passed, 100);
    use(s, 0); // Old, but used since; memory alone knows.
    use(s, 1);
    atomic_fetch_add(&passed, 100);
    settings.max_size = 12 * KIB100;
    store_reconfigure(s, &settings);
    cr_expect(falls_below(s, settings.max_size), "the cap is kept: %llu", (unsigned long long)bytes_of(s));
    cr_expect(is_held(s, 0) && is_held(s, 1), "what was used lately stays");
    unsigned held = 0;
    for (unsigned n = 0; n < 20; n++)
        held += is_held(s, n);
    cr_expect(held >= 5 && held <= 12, "no more than need be goes: %u stay", held);
    struct store_stats stats;
    store_stats(s, &stats);
    cr_expect(stats.evicted == 20 - held && stats.evicted_bytes >= (20 - held) * (uint64_t)LEN, "counted");
    cr_expect(store_writable(s) && kit_told(&events, "store_evict") == 0, "nothing to tell");
    store_close(s);
    s = kit_open(&settings);
    unsigned after = 0;
    for (unsigned n = 0; n < 20; n++)
        after += is_held(s, n);
    cr_expect(after == held, "the index says the same after a restart");
    store_close(s);
    kit_remove(directory);
}

Test(store_evict, what_comes_makes_room, .timeout = 60) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    settings.max_size = 20 * KIB100;
    struct store *s = kit_open(&settings);
    for (unsigned n = 0; n < 60; n++) {
        piece_unref(kit_put(s, n, LEN, ""));
        atomic_fetch_add(&passed, 30);
        cr_expect(falls_below(s, settings.max_size + LEN), "never far above: %llu", (unsigned long long)bytes_of(s));
    }
    cr_expect(is_held(s, 59) && !is_held(s, 0), "the newest is there, the oldest is not");
    char digest[DIGEST_TEXT_MAX + 1];
    free(kit_content(1, 10, digest));
    cr_expect(store_file_new(s, digest, 30 * KIB100) == NULL, "what is larger than the cap is not begun");
    store_close(s);
    kit_remove(directory);
}

Test(store_evict, whoever_reads_goes_on, .timeout = 60) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    struct piece *p = kit_put(s, 1, LEN, "");
    atomic_fetch_add(&passed, 100);
    put_many(s, 2, 20);
    atomic_fetch_add(&passed, 1000);
    settings.max_size = 10 * KIB100;
    store_reconfigure(s, &settings);
    cr_expect(falls_below(s, settings.max_size), "evicted");
    cr_expect(!is_held(s, 1), "it is not held any more");
    cr_expect(kit_is(p, 1, LEN), "but read to its end");
    piece_unref(p);
    piece_unref(kit_put(s, 1, LEN, ""));
    cr_expect(is_held(s, 1), "and can come back");
    store_close(s);
    kit_remove(directory);
}

// --- what is kept ---

static atomic_uint asked;

static bool keep_all(void *ctx, const char *registry, const char *repository, const char *tag) {
    atomic_fetch_add(&asked, 1);
    return strcmp(registry, "docker.io") == 0 && strcmp(repository, "library/alpine") == 0 && *tag == '\0';
}

static bool keep_v1(void *ctx, const char *registry, const char *repository, const char *tag) {
    return strcmp(tag, "v1") == 0;
}

Test(store_evict, a_tag_is_kept_with_what_it_leads_to, .timeout = 60) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    settings.keep = keep_v1;
    struct store *s = kit_open(&settings);
    put_many(s, 0, 20);
    char top[DIGEST_TEXT_MAX + 1], child[DIGEST_TEXT_MAX + 1];
    free(kit_content(3, LEN, top));
    free(kit_content(4, LEN, child));
    struct store_tag t = {.confirmed = 1};
    strcpy(t.digest, top);
    store_note_tag(s, KIT_REPOSITORY, "v1", &t);
    store_note_edge(s, KIT_REPOSITORY, &(struct store_edge){top, child, 0});
    atomic_fetch_add(&passed, 1000);
    settings.max_size = 10 * KIB100;
    store_reconfigure(s, &settings);
    cr_expect(falls_below(s, settings.max_size), "evicted");
    cr_expect(is_held(s, 3) && is_held(s, 4), "kept");
    unsigned held = 0;
    for (unsigned n = 0; n < 20; n++)
        held += is_held(s, n);
    cr_expect(held <= 10, "others go: %u stay", held);
    store_close(s);
    kit_remove(directory);
}

Test(store_evict, nothing_can_go, .timeout = 60) {
    char *directory = kit_directory(NULL);
    struct kit_events events = {0};
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    put_many(s, 0, 8);
    atomic_fetch_add(&passed, 1000);
    // `ctx` is for both callbacks.
    struct store_settings full = kit_settings(directory, &events);
    full.keep = keep_all;
    full.max_size = 4 * KIB100;
    store_reconfigure(s, &full);
    for (unsigned n = 0; n < 400 && kit_told(&events, "store_evict") == 0; n++)
        kit_sleep_ms(10);
    cr_expect(kit_told(&events, "store_evict") == 1 && atomic_load(&asked) >= 8, "told, after all were asked about");
    for (unsigned n = 0; n < 8; n++)
        cr_expect(is_held(s, n), "all of it is kept");
    cr_expect(!store_writable(s) && kit_put(s, 100, LEN, "") == NULL, "nothing new is taken");
    kit_sleep_ms(2500);
    cr_expect(kit_told(&events, "store_evict") == 1, "told once");
    full.max_size = 0;
    store_reconfigure(s, &full);
    for (unsigned n = 0; n < 400 && !store_writable(s); n++)
        kit_sleep_ms(10);
    struct piece *p = kit_put(s, 100, LEN, "");
    cr_expect(p != NULL, "with a larger cap it goes on");
    piece_unref(p);
    store_close(s);
    kit_remove(directory);
}
