// SPDX-License-Identifier: Apache-2.0
//
// `pullgate check`: everything that can be found wrong with a configuration without starting or contacting anything.

#include "gateway/commands/commands.h"

#include "gateway/config/config.h"
#include "gateway/identity/identity.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPORT_MAX = 256 * 1024 * 1024 };

static const char help[] =
    "Usage: pullgate check [--config FILE] [--strict] [--json]\n"
    "\n"
    "Read a configuration as `serve` would, with the files that it names (certificates, keys, passwords), and say what "
    "is\n"
    "wrong with it or worth a look. Nothing is started and nobody is contacted. Without --config the built-in defaults "
    "are\n"
    "checked.\n"
    "\n"
    "  --config FILE   the configuration\n"
    "  --strict        warnings count: exit with 1 if there are any\n"
    "  --json          print one JSON object: {\"usable\", \"error\", \"warnings\": [{\"path\", \"message\"}]}\n"
    "\n"
    "Exit status: 0 usable, 1 usable with warnings and --strict was given, 2 not usable.\n"
    "\n"
    "Examples:\n"
    "  pullgate check --config /etc/pullgate/pullgate.json\n"
    "  pullgate check --strict --config pullgate.json && git commit pullgate.json\n";

struct options {
    const char *config;
    bool strict;
    bool json;
};

/// What was found; `json` collects the warnings where they are printed as JSON.
struct report {
    bool as_json;
    size_t warnings;
    struct buf json;
};

static void hear(void *ctx, const char *path, const char *sentence) {
    struct report *report = ctx;
    report->warnings++;
    if (!report->as_json) {
        printf("%s: %s\n", path, sentence);
        return;
    }
    buf_adds(&report->json, report->warnings == 1 ? "{\"path\":" : ",{\"path\":");
    buf_add_json(&report->json, path, strlen(path));
    buf_adds(&report->json, ",\"message\":");
    buf_add_json(&report->json, sentence, strlen(sentence));
    buf_adds(&report->json, "}");
}

static void print_json(const struct report *report, const char *error) {
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX * 8);
    if (error != NULL)
        buf_add_json(&text, error, strlen(error));
    printf("{\"usable\":%s,\"error\":%s,\"warnings\":[%s]}\n", error == NULL ? "true" : "false",
           error == NULL ? "null" : text.data, report->json.len > 0 ? report->json.data : "");
    buf_deinit(&text);
}

static void print_summary(const struct config *c, const struct report *report, const char *name) {
    size_t written = 0;
    for (size_t i = 0; i < c->registry_count; i++)
        written += c->registry_origins[i].implied ? 0 : 1;
    printf("%s: usable, %zu warning%s; %zu listener%s, %zu registr%s, %zu rule%s, hash %s\n", name, report->warnings,
           report->warnings == 1 ? "" : "s", c->listener_count, c->listener_count == 1 ? "" : "s", written,
           written == 1 ? "y" : "ies", policy_rule_count(c->policy), policy_rule_count(c->policy) == 1 ? "" : "s",
           c->hash);
}

static int refuse(const struct report *report, const char *error) {
    if (report->as_json)
        print_json(report, error);
    else
        fprintf(stderr, "%s\n", error);
    return EXIT_UNUSABLE;
}

static int check(const struct options *o, struct report *report) {
    struct err err = {0};
    const char *name = o->config != NULL ? o->config : "built-in defaults";
    int64_t now = (int64_t)time(NULL);
    struct config *c = config_load(o->config, NULL, &err);
    if (c == NULL)
        return refuse(report, err.text);
    if (!config_check_certificates(c, now, NULL, NULL, &err)) {
        err_prefix(&err, "%s: ", name);
        config_unref(c);
        return refuse(report, err.text);
    }
    if (!identity_settings_usable(&c->identity, &err)) {
        err_prefix(&err, "%s: identity: ", name);
        config_unref(c);
        return refuse(report, err.text);
    }
    config_lint(c, now, hear, report);
    if (report->as_json)
        print_json(report, NULL);
    else
        print_summary(c, report, name);
    config_unref(c);
    return o->strict && report->warnings > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int command_check(int argc, char **argv) {
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"strict", no_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options o = {0};
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        switch (option) {
        case 'c':
            o.config = optarg;
            break;
        case 's':
            o.strict = true;
            break;
        case 'j':
            o.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        default:
            return command_usage("check");
        }
    }
    if (optind != argc) {
        fprintf(stderr, "pullgate check: \"%s\" is no option; a file is named with --config\n", argv[optind]);
        return command_usage("check");
    }
    struct report report = {.as_json = o.json};
    buf_init(&report.json, REPORT_MAX);
    int status = check(&o, &report);
    buf_deinit(&report.json);
    return status;
}
