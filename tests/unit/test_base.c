// SPDX-License-Identifier: Apache-2.0
//
// mem, err, buf, hash and lru: what the rest of pullgate stands on.

#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"
#include "mirrors/base/hash.h"
#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- mem ---

Test(mem, copies_are_ended_and_own) {
    cr_assert_null(mem_strdup(NULL));
    char *part = mem_strndup("abcdef", 3);
    cr_assert_str_eq(part, "abc");
    char *text = mem_printf("%s-%d", part, 7);
    cr_assert_str_eq(text, "abc-7");
    free(part);
    free(text);
}

Test(mem, nothing_is_still_an_address) {
    void *a = mem_alloc(0), *b = mem_zalloc(0, 8);
    cr_assert_not_null(a);
    cr_assert_not_null(b);
    a = mem_resize(a, 0, 1);
    cr_assert_not_null(a);
    free(a);
    free(b);
}

// --- err ---

Test(err, a_sentence_is_one_clean_line) {
    struct err err = {0};
    cr_assert_not(err_set(&err, "bad \"%s\"", "a\nb\x1b[31m\x7f"));
    cr_assert_str_eq(err.text, "bad \"a?b?[31m?\"");
    cr_assert_not(err_prefix(&err, "file %d: ", 1));
    cr_assert_str_eq(err.text, "file 1: bad \"a?b?[31m?\"");
    cr_assert_not(err_set(NULL, "nobody cares"));
    cr_assert_not(err_prefix(NULL, "nobody cares"));
}

Test(err, a_sentence_may_quote_the_one_before) {
    struct err err = {0};
    err_set(&err, "inner");
    err_set(&err, "outer (%s)", err.text);
    cr_assert_str_eq(err.text, "outer (inner)");
}

Test(err, a_long_sentence_is_cut_between_characters) {
    char text[ERR_TEXT_MAX * 2];
    for (size_t pad = 0; pad < 4; pad++) {
        struct err err = {0};
        size_t len = pad;
        memset(text, 'x', pad);
        for (; len + 3 < sizeof text; len += 3)
            memcpy(text + len, "\u20ac", 3);
        text[len] = '\0';
        err_set(&err, "%s", text);
        size_t kept = strlen(err.text);
        cr_assert_lt(kept, ERR_TEXT_MAX);
        cr_assert_geq(kept, ERR_TEXT_MAX - 4);
        cr_assert_eq((kept - pad) % 3, 0, "pad %zu: cut inside of a character", pad);
    }
}

// --- buf ---

Test(buf, grows_to_its_bound_and_no_further) {
    struct buf b;
    buf_init(&b, 10);
    cr_assert(buf_adds(&b, "12345"));
    cr_assert(buf_addf(&b, "%d", 67890));
    cr_assert_str_eq(b.data, "1234567890");
    cr_assert_not(buf_adds(&b, "x"), "one over the bound");
    cr_assert(b.overflow);
    cr_assert_not(buf_adds(&b, ""), "additions after an overflow are dropped");
    cr_assert_str_eq(b.data, "1234567890");
    buf_clear(&b);
    cr_assert_not(b.overflow);
    cr_assert_str_eq(b.data, "");
    cr_assert_not(buf_addf(&b, "%s", "12345678901"), "a long addition is dropped whole");
    cr_assert_eq(b.len, 0);
    buf_deinit(&b);
    buf_init(&b, SIZE_MAX);
    cr_assert(buf_add(&b, "a\0b", 3));
    cr_assert_eq(b.len, 3);
    buf_deinit(&b);
}

Test(buf, stealing_never_gives_null) {
    struct buf b;
    buf_init(&b, 10);
    char *nothing = buf_steal(&b);
    cr_assert_str_eq(nothing, "");
    buf_adds(&b, "some");
    char *some = buf_steal(&b);
    cr_assert_str_eq(some, "some");
    cr_assert_eq(b.len, 0);
    cr_assert_null(b.data);
    free(nothing);
    free(some);
}

struct json_text {
    const char *why, *in;
    size_t len;
    const char *out;
};

Test(buf, json_strings_are_safe) {
    const struct json_text rows[] = {
        {"plain", "abc", 3, "\"abc\""},
        {"empty", "", 0, "\"\""},
        {"quotes and backslashes", "a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"line ends and tabs", "\r\n\t", 3, "\"\\r\\n\\t\""},
        {"other controls and NUL", "\0\x1b\x7f", 3, "\"\\u0000\\u001b\\u007f\""},
        {"C1 controls steer terminals too", "\xc2\x9b", 2, "\"\\u009b\""},
        {"UTF-8 stays", "\u00e9\u20ac\U0001f600", 9, "\"\u00e9\u20ac\U0001f600\""},
        {"a byte that is no UTF-8",
         "a\xff"
         "b",
         3, "\"a\uFFFDb\""},
        {"an overlong slash", "\xc0\xaf", 2, "\"\uFFFD\uFFFD\""},
        {"a surrogate", "\xed\xa0\x80", 3, "\"\uFFFD\uFFFD\uFFFD\""},
        {"beyond Unicode", "\xf4\x90\x80\x80", 4, "\"\uFFFD\uFFFD\uFFFD\uFFFD\""},
        {"cut at the end", "\xe2\x82", 2, "\"\uFFFD\uFFFD\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b;
        buf_init(&b, 1000);
        cr_assert(buf_add_json(&b, rows[i].in, rows[i].len));
        cr_expect_str_eq(b.data, rows[i].out, "%s: %s", rows[i].why, b.data);
        buf_deinit(&b);
    }
}

Test(buf, a_json_string_that_does_not_fit_leaves_no_half) {
    struct buf b;
    buf_init(&b, 8);
    buf_adds(&b, "x=");
    cr_assert_not(buf_add_json(&b, "abcde", 5));
    cr_assert_str_eq(b.data, "x=");
    buf_deinit(&b);
}

// --- hash ---

Test(hash, is_siphash_1_3) {
    // The published vectors: key 00 01 .. 0f, empty input and one zero byte.
    struct hash_key key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    cr_assert_eq(hash_bytes(&key, "", 0), 0xabac0158050fc4dcu);
    const unsigned char input[] = {0};
    cr_assert_eq(hash_bytes(&key, input, 1), 0xc9f49bf37d57ca93u);
    struct hash_key a, b;
    hash_key_random(&a);
    hash_key_random(&b);
    cr_assert_neq(a.k0, b.k0);
    cr_assert_neq(hash_bytes(&a, "x", 1), hash_bytes(&b, "x", 1));
}

// --- lru ---

static int freed;

static void count_free(void *value) {
    freed++;
    free(value);
}

static void put(struct lru *t, const char *key, const char *value, size_t cost) {
    lru_put(t, key, strlen(key), mem_strdup(value), cost);
}

static const char *get(struct lru *t, const char *key) {
    return lru_get(t, key, strlen(key));
}

static bool collect(void *ctx, const void *key, size_t key_len, void *value) {
    strncat(ctx, key, key_len);
    return strlen(ctx) < 3;
}

Test(lru, the_least_recently_used_makes_room) {
    freed = 0;
    struct lru *t = lru_new(2, 0, count_free);
    put(t, "a", "1", 1);
    put(t, "b", "2", 1);
    cr_assert_str_eq(get(t, "a"), "1");
    put(t, "c", "3", 1);
    cr_assert_null(get(t, "b"), "b was used least recently");
    cr_assert_str_eq(get(t, "a"), "1");
    cr_assert_str_eq(lru_peek(t, "c", 1), "3");
    put(t, "d", "4", 1);
    cr_assert_null(get(t, "c"), "peeking is no use");
    cr_assert_eq(freed, 2);
    lru_free(t);
    cr_assert_eq(freed, 4);
}

Test(lru, costs_are_bounded) {
    freed = 0;
    struct lru *t = lru_new(100, 10, count_free);
    put(t, "a", "1", 4);
    put(t, "b", "2", 4);
    put(t, "c", "3", 5);
    cr_assert_null(get(t, "a"));
    cr_assert_eq(lru_cost(t), 9);
    cr_assert_not(lru_put(t, "big", 3, mem_strdup("x"), 11), "over the cap alone");
    cr_assert_eq(lru_count(t), 2, "nothing was evicted for it");
    cr_assert_eq(freed, 2);
    cr_assert(lru_put(t, "all", 3, mem_strdup("x"), 10));
    cr_assert_eq(lru_count(t), 1);
    put(t, "all", "y", 3);
    cr_assert_eq(lru_cost(t), 3, "replacing gives the old cost back");
    lru_free(t);
}

Test(lru, removal_replacement_and_taking) {
    freed = 0;
    struct lru *t = lru_new(10, 0, count_free);
    put(t, "a", "1", 1);
    put(t, "a", "2", 1);
    cr_assert_eq(freed, 1);
    cr_assert_eq(lru_count(t), 1);
    char *mine = lru_take(t, "a", 1);
    cr_assert_str_eq(mine, "2");
    cr_assert_eq(freed, 1);
    cr_assert_null(lru_take(t, "a", 1));
    cr_assert_not(lru_remove(t, "a", 1));
    cr_assert(lru_put(t, "m", 1, mine, 1));
    cr_assert(lru_put(t, "m", 1, mine, 2), "the same value again");
    cr_assert_eq(freed, 1);
    cr_assert_str_eq(get(t, "m"), "2");
    cr_assert(lru_remove(t, "m", 1));
    cr_assert_eq(lru_cost(t), 0);
    cr_assert_eq(freed, 2);
    put(t, "", "empty key", 1);
    cr_assert_str_eq(get(t, ""), "empty key");
    lru_free(t);
}

Test(lru, a_table_of_nothing) {
    freed = 0;
    struct lru *t = lru_new(0, 0, count_free);
    cr_assert_not(lru_put(t, "a", 1, mem_strdup("1"), 0));
    cr_assert_eq(freed, 1);
    lru_free(t);
    lru_free(NULL);
}

Test(lru, visits_by_last_use_until_told_to_stop) {
    struct lru *t = lru_new(10, 0, free);
    const char *keys[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++)
        put(t, keys[i], "", 1);
    get(t, "b");
    char seen[8] = "";
    lru_each(t, collect, seen);
    cr_assert_str_eq(seen, "bdc");
    lru_free(t);
}

Test(lru, many_entries) {
    enum { CAP = 1000, KEYS = 20000 };
    struct lru *t = lru_new(CAP, 0, free);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t *value = mem_alloc(sizeof *value);
        *value = i;
        cr_assert(lru_put(t, &i, sizeof i, value, 1));
    }
    cr_assert_eq(lru_count(t), CAP);
    for (uint32_t i = 0; i < KEYS; i++) {
        const uint32_t *value = lru_get(t, &i, sizeof i);
        cr_assert_eq(value != NULL, i >= KEYS - CAP);
        cr_assert(value == NULL || *value == i);
    }
    lru_free(t);
}
