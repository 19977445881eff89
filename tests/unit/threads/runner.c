// SPDX-License-Identifier: Apache-2.0
//
// Runs a program's tests one after another, each in a child. ThreadSanitizer ends a child that had a race with a status
// of its own, so a race is a failed test. The last line is Criterion's, which ./dev adds up.
// test_NAME [PATTERN]: only the tests SUITE/NAME that the shell pattern matches.

#include <criterion/criterion.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SKIPPED = 77,   // exit status, as Automake's
    LIMIT_S = 120,  // a test that says no limit
    SLOWNESS = 4,   // how much longer than a test's own limit: what TSan costs
    MAX_TESTS = 512 // of a program
};

static struct standin_test *added;
static atomic_int wrong; // in a test's own process

void standin_add(struct standin_test *test) {
    test->next = added;
    added = test;
}

static void say(const char *before, const char *why, va_list args) {
    char text[1024];
    vsnprintf(text, sizeof(text), why, args);
    fprintf(stderr, "%s:%s\n", before, text);
}

void standin_check(bool right, bool fatal, const char *file, int line, const char *what, const char *why, ...) {
    if (right)
        return;
    char before[512];
    snprintf(before, sizeof(before), "%s:%d: %s", file, line, what);
    va_list args;
    va_start(args, why);
    say(before, why, args);
    va_end(args);
    atomic_fetch_add(&wrong, 1);
    if (fatal)
        _exit(1); // other threads may be anywhere
}

void standin_skip(const char *why, ...) {
    va_list args;
    va_start(args, why);
    say("skipped", why, args);
    va_end(args);
    _exit(SKIPPED);
}

static struct standin_options suite_options(const struct standin_test *test) {
    for (const struct standin_test *s = added; s != NULL; s = s->next)
        if (s->name == NULL && strcmp(s->suite, test->suite) == 0)
            return s->options;
    return (struct standin_options){0};
}

// What the test says, else what its suite says.
static struct standin_options options_of(const struct standin_test *test) {
    struct standin_options suite = suite_options(test), own = test->options;
    return (struct standin_options){
        .init = own.init != NULL ? own.init : suite.init,
        .fini = own.fini != NULL ? own.fini : suite.fini,
        .timeout = own.timeout > 0 ? own.timeout : suite.timeout,
    };
}

__attribute__((noreturn)) static void be(const struct standin_test *test) {
    struct standin_options options = options_of(test);
    alarm(options.timeout > 0 ? (unsigned)options.timeout * SLOWNESS : LIMIT_S);
    if (options.init != NULL)
        options.init();
    test->run();
    if (options.fini != NULL)
        options.fini();
    exit(atomic_load(&wrong) > 0 ? 1 : 0);
}

// As waitpid gives it.
static int status_of(const struct standin_test *test) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        be(test);
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

struct sum {
    int tested, passing, failing, crashing;
};

static void run(const struct standin_test *test, struct sum *sum) {
    int status = status_of(test);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        return;
    sum->tested++;
    if (status == 0) {
        sum->passing++;
        return;
    }
    bool ended = WIFEXITED(status);
    if (ended)
        sum->failing++;
    else
        sum->crashing++;
    fprintf(stderr, "[FAIL] %s/%s: %s %d\n", test->suite, test->name, ended ? "status" : "signal",
            ended ? WEXITSTATUS(status) : WTERMSIG(status));
}

static bool is_wanted(const struct standin_test *test, const char *pattern) {
    char name[256];
    snprintf(name, sizeof(name), "%s/%s", test->suite, test->name);
    return fnmatch(pattern, name, 0) == 0;
}

int main(int argc, char **argv) {
    const char *pattern = argc > 1 ? argv[1] : "*";
    struct sum sum = {0};
    const struct standin_test *tests[MAX_TESTS];
    size_t count = 0;
    for (const struct standin_test *test = added; test != NULL && count < MAX_TESTS; test = test->next)
        if (test->name != NULL && is_wanted(test, pattern))
            tests[count++] = test;
    while (count > 0) // The last one added is the first of the list.
        run(tests[--count], &sum);
    fprintf(stderr, "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d\n", sum.tested,
            sum.passing, sum.failing, sum.crashing);
    return sum.passing == sum.tested && sum.tested > 0 ? 0 : 1;
}
