// SPDX-License-Identifier: Apache-2.0
//
// Findings gathered: verdicts, the exit status, the JSON and its bounds.

#include "gateway/doctor/report.h"
#include "mirrors/base/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *why;
    enum severity severities[3];
    size_t count;
    int status;
    const char *verdict;
} verdicts[] = {
    {"nothing found", {0}, 0, 0, "closed"},
    {"all well", {FINDING_OK, FINDING_NOTE, FINDING_WARNING}, 3, 0, "closed"},
    {"something open", {FINDING_OK, FINDING_OPEN}, 2, 1, "open"},
    {"something unknown", {FINDING_WARNING, FINDING_UNKNOWN}, 2, 3, "unknown"},
    {"open weighs more than unknown", {FINDING_UNKNOWN, FINDING_OPEN}, 2, 1, "open"},
};

static struct json *as_json(const struct report *r, struct buf *text) {
    struct err err = {""};
    buf_init(text, REPORT_TEXT_MAX);
    cr_assert(report_json(r, 0, text));
    struct json *root = json_parse(text->data, text->len, JSON_STRICT, &err);
    cr_assert_not_null(root, "%s: %s", err.text, text->data);
    return root;
}

Test(report, verdicts) {
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        struct report *r = report_new();
        struct buf text;
        for (size_t j = 0; j < verdicts[i].count; j++)
            report_add(r, verdicts[i].severities[j], "fallback", "docker", NULL, NULL, NULL, "x");
        cr_expect_eq(report_exit_status(r), verdicts[i].status, "%s", verdicts[i].why);
        struct json *root = as_json(r, &text);
        cr_expect_str_eq(json_get_string(root, "verdict"), verdicts[i].verdict, "%s", verdicts[i].why);
        json_free(root);
        buf_deinit(&text);
        report_free(r);
    }
}

Test(report, open_findings_judge_their_client) {
    struct report *r = report_new();
    report_client(r, "docker", "29.7.2");
    report_client(r, "podman", NULL);
    report_client(r, "skopeo", NULL);
    report_add(r, FINDING_OPEN, "fallback", "docker", NULL, NULL, NULL, "x");
    report_add(r, FINDING_OPEN, "unused", "podman", NULL, NULL, NULL, "x");
    report_add(r, FINDING_WARNING, "fallback", "skopeo", NULL, NULL, NULL, "x");
    size_t count;
    const struct found_client *clients = report_clients(r, &count);
    cr_assert_eq(count, 3);
    cr_expect_eq(clients[0].leaves, TRI_YES);
    cr_expect_eq(clients[0].uses, TRI_UNKNOWN, "falling back says nothing of using");
    cr_expect_eq(clients[1].uses, TRI_NO);
    cr_expect_eq(clients[1].leaves, TRI_YES);
    cr_expect_eq(clients[2].leaves, TRI_UNKNOWN, "a warning judges nothing");
    cr_expect_eq(report_client(r, "docker", NULL), &clients[0], "the same again");
    cr_expect_str_eq(clients[0].version, "29.7.2", "a version stays");
    report_free(r);
}

Test(report, json_has_what_its_form_says) {
    struct report *r = report_new();
    struct buf text;
    report_machine(r, "web-1", "0123456789abcdef");
    report_gateway(r, "https://gw", "abcdef012345");
    report_client(r, "docker", "29.7.2");
    report_add(r, FINDING_OPEN, "fallback", "docker", "/etc/docker/daemon.json", "do", "command", "what \"%s\"",
               "x\ny");
    struct json *root = as_json(r, &text);
    cr_expect_eq(json_get(root, "format")->integer, REPORT_FORMAT);
    cr_expect_str_eq(json_get_string(root, "machine"), "web-1");
    cr_expect_str_eq(json_get_string(root, "machine_id"), "0123456789abcdef");
    cr_expect_str_eq(json_get_string(root, "time"), "1970-01-01T00:00:00Z");
    cr_expect_str_eq(json_get_string(root, "gateway"), "https://gw");
    cr_expect_str_eq(json_get_string(root, "site"), "abcdef012345");
    const struct json *client = json_get(root, "clients")->child;
    cr_expect_str_eq(json_get_string(client, "name"), "docker");
    cr_expect_str_eq(json_get_string(client, "uses"), "unknown");
    cr_expect_str_eq(json_get_string(client, "leaves"), "yes");
    const struct json *finding = json_get(root, "findings")->child;
    cr_expect_str_eq(json_get_string(finding, "severity"), "open");
    cr_expect_str_eq(json_get_string(finding, "code"), "fallback");
    cr_expect_str_eq(json_get_string(finding, "where"), "/etc/docker/daemon.json");
    cr_expect_str_eq(json_get_string(finding, "what"), "what \"x?y\"", "one printable line");
    cr_expect_str_eq(json_get_string(finding, "todo"), "do");
    cr_expect_str_eq(json_get_string(finding, "command"), "command");
    json_free(root);
    buf_deinit(&text);
    report_free(r);
}

Test(report, what_is_too_long_is_counted) {
    enum { MANY = REPORT_FINDINGS_MAX + 500 };
    struct report *r = report_new();
    struct buf text;
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    for (size_t i = 0; i < MANY; i++)
        report_add(r, FINDING_NOTE, "direct", "docker", NULL, NULL, NULL, "%s", long_text);
    report_add(r, FINDING_OPEN, "fallback", "docker", NULL, NULL, NULL, "the gravest");
    cr_expect_eq(report_count(r, FINDING_NOTE), MANY);
    cr_expect_eq(report_exit_status(r), 1, "counted beyond the bound too");
    struct json *root = as_json(r, &text);
    cr_expect_leq(text.len, (size_t)REPORT_TEXT_MAX);
    size_t written = json_get(root, "findings")->count;
    cr_expect_gt(written, 10);
    cr_expect_eq(json_get(root, "findings_left_out")->integer, (int64_t)(MANY + 1 - written));
    json_free(root);
    buf_deinit(&text);
    report_free(r);
}

Test(report, the_gravest_come_first) {
    struct report *r = report_new();
    struct buf text;
    report_add(r, FINDING_OK, "configured", "a", NULL, NULL, NULL, "x");
    report_add(r, FINDING_OPEN, "fallback", "b", NULL, NULL, NULL, "x");
    report_add(r, FINDING_UNKNOWN, "unreadable", "c", NULL, NULL, NULL, "x");
    struct json *root = as_json(r, &text);
    const struct json *at = json_get(root, "findings")->child;
    cr_expect_str_eq(json_get_string(at, "client"), "b");
    cr_expect_str_eq(json_get_string(at->next, "client"), "c");
    cr_expect_str_eq(json_get_string(at->next->next, "client"), "a");
    json_free(root);
    buf_deinit(&text);
    report_free(r);
}

Test(report, the_table_names_everything) {
    struct report *r = report_new();
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    report_machine(r, "web-1", NULL);
    report_client(r, "docker", "29.7.2");
    report_add(r, FINDING_OPEN, "fallback", "docker", "/etc/docker/daemon.json", "Do this.", "the command", "found");
    report_table(r, out);
    fclose(out);
    static const char *const parts[] = {"web-1",    "29.7.2",      "found [fallback]", "/etc/docker/daemon.json",
                                        "Do this.", "the command", "open: 1 open"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_expect(strstr(text, parts[i]) != NULL, "%s is not in:\n%s", parts[i], text);
    free(text);
    report_free(r);
}

Test(report, codes_are_a_closed_list) {
    const char *const *codes = finding_codes();
    for (size_t i = 0; codes[i] != NULL; i++) {
        cr_expect(codes[i][strspn(codes[i], "abcdefghijklmnopqrstuvwxyz_")] == '\0', "%s", codes[i]);
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(codes[i], codes[j]);
    }
}
