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

Test(doctor_parts, a_gateway_that_only_monitors_is_a_warning) {
    struct client_site *site = client_site_parse(site_text, strlen(site_text), NULL);
    struct doctor d = {.root = "", .site = site, .report = report_new()};
    gateway_judge_mode(&d, false);
    cr_expect_eq(report_exit_status(d.report), 0);
    gateway_judge_mode(&d, site->monitor);
    cr_expect_eq(count_of(d.report, "gateway_monitor", FINDING_WARNING), 1);
    cr_expect_eq(report_exit_status(d.report), 0, "the machine is not to blame");
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

static const struct {
    const char *why, *site, *hosts;
    size_t open, warnings;
    bool taken;
} hosts_files[] = {
    {"the gateway's own lines", "\"takeover\":true", "10.1.2.3 ghcr.io registry-1.docker.io\n", 0, 0, true},
    {"a line before them", "\"takeover\":true", "192.0.2.1 registry-1.docker.io\n10.1.2.3 registry-1.docker.io\n", 1, 0,
     false},
    {"a line behind them", "\"takeover\":true", "10.1.2.3 registry-1.docker.io\n192.0.2.1 Registry-1.docker.io\n", 1, 0,
     false},
    {"the same address twice", "\"takeover\":true", "10.1.2.3 registry-1.docker.io\n10.1.2.3 registry-1.docker.io\n", 0,
     0, true},
    {"a name that leads elsewhere alone", "\"takeover\":true", "192.0.2.1 ghcr.io\n", 0, 1, false},
    {"without takeover", "\"takeover\":false", "192.0.2.1 ghcr.io\n", 0, 1, false},
    {"every registry served: what is none", "\"registries\":[{\"name\":\"*\",\"hosts\":[]}]",
     "127.0.0.1 localhost localhost.localdomain\n127.0.1.1 web-1.corp.test web-1\n::1 ip6-localhost ip6-loopback\n"
     "10.1.2.3 gw.test\n10.9.9.9 db.corp.test\n",
     0, 0, false},
    {"every registry served: one that everybody knows", "\"registries\":[{\"name\":\"*\",\"hosts\":[]}]",
     "192.0.2.1 ghcr.io\n", 0, 1, false},
    {"a pattern that the gateway and the machine fall under", "\"registries\":[{\"name\":\"*.test\",\"hosts\":[]}]",
     "127.0.1.1 web-1.corp.test web-1\n10.1.2.3 gw.test\n192.0.2.1 reg.test\n", 0, 1, false},
};

Test(doctor_parts, names_that_lead_elsewhere) {
    for (size_t i = 0; i < sizeof hosts_files / sizeof *hosts_files; i++) {
        char root[] = "/tmp/pullgate-test-XXXXXX";
        bool named = strstr(hosts_files[i].site, "registries") != NULL;
        cr_assert_not_null(mkdtemp(root));
        put(root, "etc", "hosts", hosts_files[i].hosts);
        char *text = mem_printf("{\"format\":1,\"gateway\":\"https://%s\",%s%s}", named ? "gw.test" : "10.1.2.3",
                                named ? ""
                                      : "\"registries\":[{\"name\":\"docker.io\",\"hosts\":[\"registry-1.docker.io\"]},"
                                        "{\"name\":\"ghcr.io\",\"hosts\":[]}],",
                                hosts_files[i].site);
        struct client_site *site = client_site_parse(text, strlen(text), NULL);
        cr_assert_not_null(site, "%s", text);
        struct machine machine = {.name = "web-1"};
        struct doctor d = {.root = root, .site = site, .machine = &machine, .report = report_new()};
        judge_hosts_file(&d);
        cr_expect_eq(count_of(d.report, "hosts_entry", FINDING_OPEN), hosts_files[i].open, "%s: open",
                     hosts_files[i].why);
        cr_expect_eq(count_of(d.report, "hosts_entry", FINDING_WARNING), hosts_files[i].warnings, "%s: warnings",
                     hosts_files[i].why);
        cr_expect_eq(doctor_taken_over(&d, "registry-1.docker.io"), hosts_files[i].taken, "%s: taken over",
                     hosts_files[i].why);
        report_free(d.report);
        client_site_free(site);
        free(text);
        char *command = mem_printf("rm -rf -- '%s'", root);
        cr_assert_eq(system(command), 0);
        free(command);
    }
}

/// An image of a machine, whose gateway's address nobody here knows.
Test(doctor_parts, pullgates_own_lines_say_where_the_gateway_is) {
    static const char *const hosts[] = {"# BEGIN pullgate (x)\n10.1.2.3 ghcr.io\n# END pullgate\n",
                                        "192.0.2.1 ghcr.io\n# BEGIN pullgate (x)\n10.1.2.3 ghcr.io\n# END pullgate\n"};
    static const char text[] = "{\"format\":1,\"gateway\":\"https://gw.invalid\",\"registries\":[{\"name\":\"ghcr.io\","
                               "\"hosts\":[]}],\"takeover\":true}";
    for (size_t i = 0; i < 2; i++) {
        char root[] = "/tmp/pullgate-test-XXXXXX";
        cr_assert_not_null(mkdtemp(root));
        put(root, "etc", "hosts", hosts[i]);
        struct client_site *site = client_site_parse(text, strlen(text), NULL);
        struct machine machine = {.name = "web-1"};
        struct doctor d = {.root = root, .site = site, .machine = &machine, .report = report_new()};
        judge_hosts_file(&d);
        cr_expect_eq(doctor_taken_over(&d, "ghcr.io"), i == 0, "%s", hosts[i]);
        cr_expect_eq(count_of(d.report, "hosts_entry", FINDING_OPEN), i, "%s", hosts[i]);
        report_free(d.report);
        client_site_free(site);
        char *command = mem_printf("rm -rf -- '%s'", root);
        cr_assert_eq(system(command), 0);
        free(command);
    }
}

// --- commands that are pasted ---

static const struct {
    const char *why, *text, *word;
} shell_words[] = {
    {"plain", "/srv/web-1", "/srv/web-1"},           {"a URL", "https://gw.test:5443", "https://gw.test:5443"},
    {"a space", "/srv/my image", "'/srv/my image'"}, {"a quote", "/srv/it's", "'/srv/it'\\''s'"},
    {"a command", "/srv/$(id);x", "'/srv/$(id);x'"}, {"nothing", "", "''"},
};

static const struct {
    const char *why, *command, *told;
} commands[] = {
    {"what writes", "pullgate client docker --strict --write",
     "pullgate client docker --strict --write --root '/srv/my image'"},
    {"what looks", "sudo pullgate doctor", "sudo pullgate doctor --root '/srv/my image'"},
    {"what looks and writes", "pullgate doctor --gateway https://gw --fix",
     "pullgate doctor --gateway https://gw --fix --root '/srv/my image'"},
    {"what prints", "pullgate client firewall --nft", "pullgate client firewall --nft"},
    {"none", NULL, NULL},
};

Test(doctor_parts, commands_are_for_the_machine_that_was_looked_at) {
    for (size_t i = 0; i < sizeof shell_words / sizeof *shell_words; i++) {
        char *word = report_shell_word(shell_words[i].text);
        cr_expect_str_eq(word, shell_words[i].word, "%s: %s", shell_words[i].why, word);
        free(word);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        for (int rooted = 0; rooted <= 1; rooted++) {
            struct report *r = report_new();
            size_t count;
            report_root(r, rooted ? "/srv/my image" : NULL);
            report_add(r, FINDING_OPEN, "unused", "docker", NULL, NULL, commands[i].command, "x");
            expect(report_findings(r, &count)->command, rooted ? commands[i].told : commands[i].command,
                   commands[i].why);
            report_free(r);
        }
    }
}

// --- a file that was changed after the daemon was started ---

static const struct {
    const char *why;
    int64_t after; ///< The change, milliseconds after the start.
    size_t restarts;
} ages[] = {
    {"written long before", -5000, 0},
    {"written just before, in the same second", -5, 0},
    {"while it was being started", 20, 0},
    {"a moment later, in the same second", 400, 1},
    {"long after", 5000, 1},
};

Test(doctor_parts, restart) {
    char root[] = "/tmp/pullgate-test-XXXXXX";
    cr_assert_not_null(mkdtemp(root));
    put(root, "etc", "daemon.json", "{}");
    int64_t changed = below_changed(root, "/etc/daemon.json");
    cr_expect_gt(changed, 1000000000000, "milliseconds");
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        struct doctor d = {.root = root, .report = report_new()};
        struct machine_client c = {.name = "docker", .started = changed - ages[i].after};
        judge_age(&d, &c, "/etc/daemon.json", "systemctl restart docker");
        cr_expect_eq(count_of(d.report, "restart", FINDING_WARNING), ages[i].restarts, "%s", ages[i].why);
        report_free(d.report);
    }
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
