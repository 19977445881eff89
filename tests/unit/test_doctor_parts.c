// SPDX-License-Identifier: Apache-2.0
//
// Parts of doctor: programs that do not behave, texts that strangers wrote, what systemd starts a daemon with, the
// gateway's mode, and a machine on which registries' names are taken over.

#include "gateway/clients/run.h"
#include "gateway/doctor/below.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/network.h"
#include "mirrors/base/clock.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// --- programs ---

enum { SAID_MAX = 16, SOON_MS = 4000 };

static const struct {
    const char *why, *script;
    unsigned seconds;
    int status;
    const char *said;
} programs[] = {
    {"one that answers", "echo 1.2.3; exit 3", 10, 3, "1.2.3\n"},
    {"on standard error too", "echo x >&2", 10, 0, "x\n"},
    {"one that hangs", "sleep 60", 1, -2, ""},
    {"one that leaves a child that keeps the pipe", "sleep 60 & echo done", 10, 0, "done\n"},
    {"one that closes its outputs and hangs", "exec >&- 2>&-; sleep 60", 1, -2, ""},
    {"one that talks without end", "exec yes abcdefg", 1, -2, "abcdefg\nabcdefg\n"},
    {"one that talks more than is wanted, and ends", "yes abcdefg | head -n 100000", 10, 0, "abcdefg\nabcdefg\n"},
    {"one that is killed", "kill -9 $$", 10, 128 + 9, ""},
    {"standard input is empty", "cat", 10, 0, ""},
};

Test(doctor_parts, programs_are_bounded) {
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        const char *const argv[] = {"/bin/sh", "-c", programs[i].script, NULL};
        struct buf said;
        buf_init(&said, SAID_MAX);
        buf_adds(&said, "");
        int64_t begin = clock_ms();
        int status = program_run(argv, NULL, programs[i].seconds, &said);
        cr_expect_eq(status, programs[i].status, "%s: %d", programs[i].why, status);
        cr_expect_str_eq(said.data, programs[i].said, "%s: \"%s\"", programs[i].why, said.data);
        cr_expect_lt(clock_ms() - begin, SOON_MS, "%s: in time", programs[i].why);
        buf_deinit(&said);
    }
}

Test(doctor_parts, a_program_that_is_not_there) {
    const char *const argv[] = {"/nowhere/dockerd", NULL};
    struct buf said;
    buf_init(&said, SAID_MAX);
    cr_expect_eq(program_run(argv, NULL, 1, &said), -1);
    buf_deinit(&said);
}

// --- texts ---

static const struct {
    const char *why, *text, *clean;
} texts[] = {
    {"plain", "docker.io", "docker.io"},
    {"other scripts", "répertoire 日本", "répertoire 日本"},
    {"an escape sequence", "\x1b[31mred", "?[31mred"},
    {"CSI in one character",
     "a\xc2\x9b"
     "31m",
     "a??31m"},
    {"lines", "a\r\nb", "a??b"},
    {"what turns the line around",
     "a\xe2\x80\xae"
     "b",
     "a???b"},
    {"no UTF-8", "\xff\xfe", "??"},
    {"longer than wanted", "0123456789012345678901234567890123456789", "01234567890123456789"},
};

Test(doctor_parts, texts_are_printable) {
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *text = report_clean(mem_strdup(texts[i].text), 20);
        cr_expect_str_eq(text, texts[i].clean, "%s: \"%s\"", texts[i].why, text);
        free(text);
    }
}

Test(doctor_parts, a_report_fits_whatever_is_in_it) {
    struct report *r = report_new();
    struct buf json;
    char *name = mem_zalloc(1, 1000000);
    memset(name, '"', 999999);
    report_machine(r, name, NULL);
    for (size_t i = 0; i < 3000; i++)
        report_add(r, FINDING_OPEN, "host_directory", "docker", name, NULL, NULL, "%s", name);
    buf_init(&json, REPORT_TEXT_MAX);
    cr_assert(report_json(r, 0, &json));
    cr_expect_leq(json.len, (size_t)REPORT_TEXT_MAX);
    struct json *root = json_parse(json.data, json.len, JSON_STRICT, NULL);
    cr_expect_not_null(root);
    json_free(root);
    buf_deinit(&json);
    free(name);
    report_free(r);
}

// --- what systemd starts a daemon with ---

static const struct {
    const char *why, *unit, *http, *no, *start;
} units[] = {
    {"all", "[Service]\nEnvironment=\"HTTP_PROXY=http://p\" 'NO_PROXY=a,b'\nExecStart=/d -x\n", "http://p", "a,b",
     "/d -x"},
    {"another section's", "[Unit]\nEnvironment=HTTP_PROXY=http://p\n[Install]\nExecStart=/d\n", NULL, NULL, ""},
    {"the last one counts", "[Service]\nExecStart=/a\nExecStart=\nExecStart=/b\n", NULL, NULL, "/b"},
    {"spaces around the sign", "[Service]\nEnvironment = HTTP_PROXY=http://p\nExecStart =/d\n", "http://p", NULL, "/d"},
    {"capitals win over small letters", "[Service]\nEnvironment=HTTP_PROXY=http://a\nEnvironment=http_proxy=http://b\n",
     "http://a", NULL, ""},
    {"small letters alone", "[Service]\nEnvironment=http_proxy=http://b\n", "http://b", NULL, ""},
    {"capitals that say nothing", "[Service]\nEnvironment=http_proxy=http://b HTTP_PROXY=\n", "http://b", NULL, ""},
    {"taken back, but not the command", "[Service]\nExecStart=/d\nEnvironment=HTTP_PROXY=http://p\nEnvironment=\n",
     NULL, NULL, "/d"},
    {"a variable in the command", "[Service]\nEnvironment=\"O=-a  -b\"\nExecStart=/d ${O} $O $NONE\n", NULL, NULL,
     "/d -a -b -a -b $NONE"},
    {"a line that goes on", "[Service]\nExecStart=/d \\\n  -a \\\n  -b\n", NULL, NULL, "/d -a -b"},
};

static void expect(const char *found, const char *wanted, const char *why) {
    cr_expect_eq(found == NULL, wanted == NULL, "%s: %s", why, found != NULL ? found : "nothing");
    if (found != NULL && wanted != NULL)
        cr_expect_str_eq(found, wanted, "%s: %s", why, found);
}

Test(doctor_parts, units) {
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        struct daemon_env env = {0};
        struct names files = {0}, words = {0};
        struct buf line;
        buf_init(&line, 1000);
        buf_adds(&line, "");
        daemon_env_unit(units[i].unit, strlen(units[i].unit), "x", &env, &files);
        daemon_env_words(&env, &words);
        for (size_t j = 0; j < words.count; j++)
            buf_addf(&line, "%s%s", j > 0 ? " " : "", words.at[j]);
        expect(env.http, units[i].http, units[i].why);
        expect(env.no, units[i].no, units[i].why);
        expect(line.data, units[i].start, units[i].why);
        buf_deinit(&line);
        names_deinit(&words);
        names_deinit(&files);
        daemon_env_deinit(&env);
    }
}

// --- the gateway's mode ---

static const char site_text[] =
    "{\"format\":1,\"gateway\":\"https://10.1.2.3\",\"registries\":[{\"name\":\"docker.io\",\"hosts\":[\"registry-1."
    "docker.io\"]},{\"name\":\"ghcr.io\",\"hosts\":[]}],\"takeover\":true,\"monitor\":true}";

static size_t count_of(const struct report *r, const char *code, enum severity severity) {
    size_t count, found = 0;
    const struct finding *f = report_findings(r, &count);
    for (size_t i = 0; i < count; i++)
        found += strcmp(f[i].code, code) == 0 && f[i].severity == severity ? 1 : 0;
    return found;
}

Test(doctor_parts, a_gateway_that_only_monitors_is_open) {
    struct client_site *site = client_site_parse(site_text, strlen(site_text), NULL);
    struct doctor d = {.root = "", .site = site, .report = report_new()};
    gateway_judge_mode(&d, false);
    cr_expect_eq(report_exit_status(d.report), 0);
    gateway_judge_mode(&d, site->monitor);
    cr_expect_eq(count_of(d.report, "gateway_monitor", FINDING_OPEN), 1);
    cr_expect_eq(report_exit_status(d.report), 1);
    report_free(d.report);
    client_site_free(site);
}

// --- names that are taken over ---

static void put(const char *root, const char *folder, const char *file, const char *text) {
    char *path = mem_printf("%s/%s", root, folder), *whole = mem_printf("%s/%s", path, file);
    mkdir(path, 0755);
    FILE *out = fopen(whole, "we");
    cr_assert_not_null(out);
    fputs(text, out);
    fclose(out);
    free(whole);
    free(path);
}

Test(doctor_parts, with_takeover_the_other_registries_are_open) {
    char root[] = "/tmp/pullgate-test-XXXXXX";
    cr_assert_not_null(mkdtemp(root));
    put(root, "etc", "hosts", "10.1.2.3 registry-1.docker.io docker.io\n");
    struct names named = {0};
    struct machine machine;
    struct client_site *site = client_site_parse(site_text, strlen(site_text), NULL);
    names_add(&named, "docker");
    machine_look(root, &named, &machine);
    machine.clients[0].major = 20;
    struct doctor d = {.root = root, .site = site, .machine = &machine, .report = report_new()};
    judge_machine(&d);
    cr_expect_eq(count_of(d.report, "takeover", FINDING_OK), 1);
    cr_expect_eq(count_of(d.report, "unlisted_registry", FINDING_OPEN), 1, "ghcr.io, and all others");
    report_free(d.report);
    machine_deinit(&machine);
    names_deinit(&named);
    client_site_free(site);
    char *command = mem_printf("rm -rf -- '%s'", root);
    cr_assert_eq(system(command), 0);
    free(command);
}

// --- what may not be looked at ---

Test(doctor_parts, what_is_hidden_is_not_missing) {
    char root[] = "/tmp/pullgate-test-XXXXXX";
    cr_assert_not_null(mkdtemp(root));
    put(root, "closed", "x", "");
    char *closed = mem_printf("%s/closed", root);
    cr_assert_eq(chmod(closed, 0), 0);
    chmod(root, 0755);
    bool root_user = geteuid() == 0;
    if (root_user)
        cr_assert_eq(seteuid(65534), 0);
    cr_expect(below_is_hidden(root, "/closed/x"));
    cr_expect(below_is_hidden(root, "/closed/none"), "who may not look cannot tell");
    cr_expect_not(below_is_hidden(root, "/none"));
    cr_expect_not(below_is_hidden(root, "/closed"));
    if (root_user)
        cr_assert_eq(seteuid(0), 0);
    char *command = mem_printf("chmod 700 '%s'; rm -rf -- '%s'", closed, root);
    cr_assert_eq(system(command), 0);
    free(command);
    free(closed);
}
