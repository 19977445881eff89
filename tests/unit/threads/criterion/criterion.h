// SPDX-License-Identifier: Apache-2.0
//
// A stand-in for Criterion, which does not start under ThreadSanitizer: its processes are made from a heap that they
// share at an address which TSan has for itself. Only what the tests with threads use; runner.c beside it runs them.
// A test is a process of its own here too, so that none inherits another's threads.
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct standin_options {
    void (*init)(void); ///< in the test's process, before it
    void (*fini)(void); ///< and after it, unless it ended by a failed cr_assert
    double timeout;     ///< seconds; 0: the runner's own limit
};

struct standin_test {
    const char *suite;
    const char *name; ///< NULL: the options are those of the suite
    void (*run)(void);
    struct standin_options options;
    struct standin_test *next;
};

/// Before main.
void standin_add(struct standin_test *test);

/// Of any thread of a test. `fatal`: what is wrong ends the test at once.
__attribute__((format(printf, 6, 7))) void standin_check(bool right, bool fatal, const char *file, int line,
                                                         const char *what, const char *why, ...);

/// Ends the test.
__attribute__((noreturn, format(printf, 1, 2))) void standin_skip(const char *why, ...);

// The names are Criterion's. Macros, because they declare functions and show the source of what failed.
#define TestSuite(SUITE, ...)                                                                                          \
    __attribute__((constructor)) static void SUITE##_suite_add(void) {                                                 \
        static struct standin_test suite = {.suite = #SUITE, .options = {__VA_ARGS__}};                                \
        standin_add(&suite);                                                                                           \
    }                                                                                                                  \
    struct standin_test

#define Test(SUITE, NAME, ...)                                                                                         \
    static void SUITE##_##NAME##_run(void);                                                                            \
    __attribute__((constructor)) static void SUITE##_##NAME##_add(void) {                                              \
        static struct standin_test test = {                                                                            \
            .suite = #SUITE, .name = #NAME, .run = SUITE##_##NAME##_run, .options = {__VA_ARGS__}};                    \
        standin_add(&test);                                                                                            \
    }                                                                                                                  \
    static void SUITE##_##NAME##_run(void)

#define STANDIN_CHECK(RIGHT, FATAL, WHAT, ...)                                                                         \
    standin_check((RIGHT), (FATAL), __FILE__, __LINE__, (WHAT), " " __VA_ARGS__)

#define cr_assert(A, ...) STANDIN_CHECK((A), true, #A, __VA_ARGS__)
#define cr_assert_not(A, ...) STANDIN_CHECK(!(A), true, "not " #A, __VA_ARGS__)
#define cr_assert_null(A, ...) STANDIN_CHECK((A) == NULL, true, #A " == NULL", __VA_ARGS__)
#define cr_assert_not_null(A, ...) STANDIN_CHECK((A) != NULL, true, #A " != NULL", __VA_ARGS__)
#define cr_assert_eq(A, B, ...) STANDIN_CHECK((A) == (B), true, #A " == " #B, __VA_ARGS__)
#define cr_assert_neq(A, B, ...) STANDIN_CHECK((A) != (B), true, #A " != " #B, __VA_ARGS__)
#define cr_assert_lt(A, B, ...) STANDIN_CHECK((A) < (B), true, #A " < " #B, __VA_ARGS__)
#define cr_assert_leq(A, B, ...) STANDIN_CHECK((A) <= (B), true, #A " <= " #B, __VA_ARGS__)
#define cr_assert_gt(A, B, ...) STANDIN_CHECK((A) > (B), true, #A " > " #B, __VA_ARGS__)
#define cr_assert_geq(A, B, ...) STANDIN_CHECK((A) >= (B), true, #A " >= " #B, __VA_ARGS__)
#define cr_assert_str_eq(A, B, ...) STANDIN_CHECK(strcmp((A), (B)) == 0, true, #A " is " #B, __VA_ARGS__)
#define cr_assert_str_neq(A, B, ...) STANDIN_CHECK(strcmp((A), (B)) != 0, true, #A " is not " #B, __VA_ARGS__)
#define cr_assert_fail(...) STANDIN_CHECK(false, true, "reached", __VA_ARGS__)

#define cr_expect(A, ...) STANDIN_CHECK((A), false, #A, __VA_ARGS__)
#define cr_expect_not(A, ...) STANDIN_CHECK(!(A), false, "not " #A, __VA_ARGS__)
#define cr_expect_null(A, ...) STANDIN_CHECK((A) == NULL, false, #A " == NULL", __VA_ARGS__)
#define cr_expect_not_null(A, ...) STANDIN_CHECK((A) != NULL, false, #A " != NULL", __VA_ARGS__)
#define cr_expect_eq(A, B, ...) STANDIN_CHECK((A) == (B), false, #A " == " #B, __VA_ARGS__)
#define cr_expect_neq(A, B, ...) STANDIN_CHECK((A) != (B), false, #A " != " #B, __VA_ARGS__)
#define cr_expect_lt(A, B, ...) STANDIN_CHECK((A) < (B), false, #A " < " #B, __VA_ARGS__)
#define cr_expect_leq(A, B, ...) STANDIN_CHECK((A) <= (B), false, #A " <= " #B, __VA_ARGS__)
#define cr_expect_gt(A, B, ...) STANDIN_CHECK((A) > (B), false, #A " > " #B, __VA_ARGS__)
#define cr_expect_geq(A, B, ...) STANDIN_CHECK((A) >= (B), false, #A " >= " #B, __VA_ARGS__)
#define cr_expect_str_eq(A, B, ...) STANDIN_CHECK(strcmp((A), (B)) == 0, false, #A " is " #B, __VA_ARGS__)
#define cr_expect_str_neq(A, B, ...) STANDIN_CHECK(strcmp((A), (B)) != 0, false, #A " is not " #B, __VA_ARGS__)
#define cr_expect_fail(...) STANDIN_CHECK(false, false, "reached", __VA_ARGS__)

#define cr_skip(...) standin_skip(" " __VA_ARGS__)
#define cr_skip_test(...) standin_skip(" " __VA_ARGS__)
