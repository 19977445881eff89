// SPDX-License-Identifier: Apache-2.0
//
// `pullgate doctor`: which container clients this machine has, whether they use the gateway, and whether they can leave
// it.

#include "gateway/commands/client_site.h"
#include "gateway/commands/commands.h"

#include "gateway/clients/clients.h"
#include "gateway/doctor/below.h"
#include "gateway/doctor/network.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { JSON_MAX = REPORT_TEXT_MAX, ANSWER_MAX = 4096, FIX_WORDS_MAX = 64 };

static const char help[] =
    "Usage: pullgate doctor [CLIENT...] [OPTIONS]\n"
    "\n"
    "Find the container clients of this machine, read their configuration as they would, and say whether they use the\n"
    "gateway, whether they can leave it, and what to do about it. Changes nothing without --fix. Whoever runs it: "
    "what\n"
    "that user may not read is told as unknown.\n"
    "\n"
    "  CLIENT...          only these: docker, containerd, nerdctl, buildkit, podman, buildah, skopeo, cri-o, k3s, "
    "rke2,\n"
    "                     desktop (default: all that are found)\n"
    "  --root DIR         look below this folder, at an image of a machine; no program is run\n"
    "\n"
    "The site (default: /etc/pullgate/client.json, which `pullgate client --write` left):\n"
    "  --gateway URL      ask this gateway for it\n"
    "  --site FILE        take it from a file; --config FILE: from the gateway's configuration\n"
    "  --ca FILE, --certificate FILE, --key FILE, --header 'N: V'\n"
    "                     what this machine shows the gateway, and trusts it with\n"
    "\n"
    "What else is tried:\n"
    "  --offline          do not ask the gateway either\n"
    "  --probe            try TCP connections to the registries' own hosts: none should open\n"
    "  --pull IMAGE       really pull this image with each client\n"
    "  --fix              first write what `pullgate client CLIENT... --strict --write` writes\n"
    "\n"
    "How it is told:\n"
    "  --json             one JSON object in the place of the table\n"
    "  --report URL       send that JSON to this gateway, which keeps the last report of each machine\n"
    "                     (not with --root)\n"
    "\n"
    "Exit status: 0 all is closed; 1 something is open; 3 nothing is open, but something could not be told; 2 an "
    "option\n"
    "or a file is not usable, or the report could not be sent.\n"
    "\n"
    "Every finding is explained in docs/doctor.md.\n"
    "\n"
    "Examples:\n"
    "  pullgate doctor\n"
    "  sudo pullgate doctor --fix docker\n"
    "  pullgate doctor --json --probe --report https://gateway.example.com\n";

struct options {
    struct site_options site;
    const char *pull, *report;
    bool offline, probe, fix, json;
    char root[PATH_MAX];
    struct names clients;
};

enum { OPTION_ROOT = 'r', OPTION_HEADER = 'H' };

// --- options ---

static bool complain(const char *text, const char *about) {
    fprintf(stderr, "pullgate doctor: %s%s\n", text, about);
    return false;
}

static bool set_root(struct options *o, const char *path) {
    if (realpath(path, o->root) == NULL)
        return complain("--root: there is no such folder: ", path);
    if (strcmp(o->root, "/") == 0)
        o->root[0] = '\0';
    return true;
}

static bool add_header(struct options *o, const char *text) {
    if (o->site.header_count == CLIENT_HEADERS_MAX)
        return complain("--header: ", "there are too many");
    o->site.headers[o->site.header_count++] = text;
    return true;
}

static bool read_plain(struct options *o, int option) {
    const struct {
        int option;
        const char **text;
    } texts[] = {{'g', &o->site.gateway},     {'s', &o->site.site}, {'c', &o->site.config}, {'a', &o->site.ca},
                 {'C', &o->site.certificate}, {'K', &o->site.key},  {'P', &o->pull},        {'R', &o->report}};
    const struct {
        int option;
        bool *fact;
    } facts[] = {{'o', &o->offline}, {'p', &o->probe}, {'f', &o->fix}, {'j', &o->json}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].option == option) {
            *texts[i].text = optarg;
            return true;
        }
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (facts[i].option == option) {
            *facts[i].fact = true;
            return true;
        }
    return false;
}

static bool read_option(struct options *o, int option) {
    if (option == OPTION_ROOT)
        return set_root(o, optarg);
    if (option == OPTION_HEADER)
        return add_header(o, optarg);
    return read_plain(o, option);
}

static bool read_clients(struct options *o, char *const *names) {
    for (; *names != NULL; names++) {
        if (!machine_knows(*names))
            return complain("there is no client of this name: ", *names);
        names_add(&o->clients, *names);
    }
    if (o->pull != NULL && o->root[0] != '\0')
        return complain("--pull: ", "the clients of an image of a machine cannot be run");
    if (o->report != NULL && o->root[0] != '\0')
        return complain("--report: ",
                        "the gateway keeps it of the machine that sends it, which is not the one below --root");
    if (o->pull != NULL && o->pull[0] == '-')
        return complain("--pull: expected an image, found ", o->pull);
    return true;
}

// --- the site ---

/// --ca names the file itself here, not one that is to be copied to where clients find it.
static void take_ca(struct client_site *site, const char *ca) {
    if (ca == NULL)
        return;
    free(site->ca);
    site->ca = mem_strdup(ca);
}

/// What can be said where only the gateway's address is known.
static struct client_site *bare_site(const struct options *o) {
    struct buf text;
    buf_init(&text, CLIENT_SITE_TEXT_MAX);
    buf_addf(&text, "{\"format\":%d,\"gateway\":", CLIENT_SITE_FORMAT);
    buf_add_json(&text, o->site.gateway, strlen(o->site.gateway));
    buf_adds(&text, "}");
    struct client_site *site = client_site_parse(text.data, text.len, NULL);
    buf_deinit(&text);
    if (site != NULL)
        take_ca(site, o->site.ca);
    return site;
}

static bool is_same(const char *url, const struct client_site *site) {
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    return strlen(site->gateway) == len && strncmp(site->gateway, url, len) == 0;
}

/// The machine's own description, where --gateway names the same gateway or none: it has the certificate and headers.
static struct client_site *site_of_machine(const struct options *o) {
    struct site_options machine = o->site;
    machine.gateway = NULL;
    if (o->site.site != NULL || o->site.config != NULL || !below_is_there(o->root, CLIENT_SITE_PATH))
        return NULL;
    struct client_site *site = client_site_find(&machine, NULL);
    if (site != NULL && o->site.gateway != NULL && !is_same(o->site.gateway, site)) {
        client_site_free(site);
        return NULL;
    }
    return site;
}

/// NULL: it is not known, and the report says so.
static struct client_site *find_site(const struct options *o, struct report *report, bool *usable) {
    struct err err = {""};
    struct client_site *site = site_of_machine(o);
    if (site != NULL)
        return site;
    if (o->offline && o->site.gateway != NULL)
        return bare_site(o);
    site = client_site_find(&o->site, &err);
    if (site != NULL) {
        take_ca(site, o->site.ca);
        return site;
    }
    if (o->site.site != NULL || o->site.config != NULL) {
        *usable = complain(err.text, "");
        return NULL;
    }
    char *url = report_shell_word(o->site.gateway != NULL ? o->site.gateway : "URL");
    char *command = mem_printf("pullgate client NAME... --gateway %s --ca FILE --write", url);
    report_add(report, FINDING_UNKNOWN, "site_unknown", "gateway", o->site.gateway,
               "Write the description of the site.", command,
               "what the site serves is not known, and so not what would be a way past it: %s", err.text);
    free(command);
    free(url);
    return o->site.gateway != NULL ? bare_site(o) : NULL;
}

// --- --fix ---

static void add_option(const char **argv, int *argc, const char *name, const char *value) {
    if (value == NULL)
        return;
    argv[(*argc)++] = name;
    argv[(*argc)++] = value;
}

/// The command that a person would run: `pullgate client NAME... --strict --write`.
static bool fix(const struct options *o, const struct machine *m) {
    const char *argv[FIX_WORDS_MAX + 2 * CLIENT_HEADERS_MAX] = {"client"};
    int argc = 1;
    for (size_t i = 0; i < m->count; i++)
        if (client_kind(m->clients[i].name) != NULL)
            argv[argc++] = m->clients[i].name;
    if (argc == 1)
        return true;
    argv[argc++] = "--strict";
    argv[argc++] = "--write";
    add_option(argv, &argc, "--root", o->root[0] != '\0' ? o->root : NULL);
    add_option(argv, &argc, "--gateway", o->site.gateway);
    add_option(argv, &argc, "--site", o->site.site);
    add_option(argv, &argc, "--config", o->site.config);
    add_option(argv, &argc, "--ca", o->site.ca);
    add_option(argv, &argc, "--certificate", o->site.certificate);
    add_option(argv, &argc, "--key", o->site.key);
    for (size_t i = 0; i < o->site.header_count; i++)
        add_option(argv, &argc, "--header", o->site.headers[i]);
    argv[argc] = NULL;
    FILE *out = stdout;
    if (o->json) // What the writing says is for people; the JSON is to stand alone.
        stdout = stderr;
    optind = 1;
    int status = command_client(argc, (char **)argv);
    fputc('\n', stdout);
    stdout = out;
    return status != EXIT_UNUSABLE;
}

// --- the examination ---

static void ask(const struct options *o, struct doctor *d) {
    if (d->site == NULL)
        return;
    if (!o->offline) {
        gateway_judge(d);
        gateway_judge_site(d);
    } else
        gateway_judge_mode(d, d->site->monitor);
    if (o->probe)
        probe_judge(d);
}

static void describe(struct doctor *d) {
    char hash[CLIENT_SITE_HASH_HEX + 1];
    if (d->site == NULL)
        return;
    client_site_hash(d->site, hash);
    report_gateway(d->report, d->site->gateway, hash);
}

static void print(const struct options *o, const struct report *report, const struct buf *json) {
    if (o->json)
        printf("%s\n", json->data);
    else
        report_table(report, stdout);
}

/// Without the line's end that what a gateway answers has.
static const char *one_line(char *text, size_t max) {
    if (text == NULL)
        return "";
    size_t len = strlen(text);
    while (len > 0 && strchr("\r\n \t", text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return report_clean(text, max);
}

static bool send_report(const struct options *o, const struct doctor *d, const struct buf *json) {
    struct err err = {""};
    struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    bool sent = report_send(d, o->report, json, &answer, &err);
    if (!sent)
        complain(one_line(err.text, sizeof err.text), "");
    else
        fprintf(stderr, "pullgate doctor: reported: %s\n", one_line(answer.data, ANSWER_MAX));
    buf_deinit(&answer);
    return sent;
}

static int tell(const struct options *o, const struct doctor *d) {
    struct buf json;
    buf_init(&json, JSON_MAX);
    int status = report_exit_status(d->report);
    if (!report_json(d->report, d->now, &json)) {
        complain("the report is too long", "");
        status = EXIT_UNUSABLE;
    } else {
        print(o, d->report, &json);
        fflush(stdout);
        if (o->report != NULL && !send_report(o, d, &json))
            status = EXIT_UNUSABLE;
    }
    buf_deinit(&json);
    return status;
}

static int examine(const struct options *o, struct report *report, const struct machine *machine) {
    bool usable = true;
    if (o->fix && !fix(o, machine))
        return EXIT_UNUSABLE;
    struct client_site *site = find_site(o, report, &usable);
    if (!usable)
        return EXIT_UNUSABLE;
    struct doctor d = {.root = o->root, .site = site, .machine = machine, .report = report, .now = (int64_t)time(NULL)};
    describe(&d);
    judge_machine(&d);
    ask(o, &d);
    if (o->pull != NULL)
        pull_judge(&d, o->pull);
    int status = tell(o, &d);
    client_site_free(site);
    return status;
}

int command_doctor(int argc, char **argv) {
    static const struct option known[] = {{"root", required_argument, NULL, OPTION_ROOT},
                                          {"gateway", required_argument, NULL, 'g'},
                                          {"site", required_argument, NULL, 's'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"ca", required_argument, NULL, 'a'},
                                          {"certificate", required_argument, NULL, 'C'},
                                          {"key", required_argument, NULL, 'K'},
                                          {"header", required_argument, NULL, OPTION_HEADER},
                                          {"offline", no_argument, NULL, 'o'},
                                          {"probe", no_argument, NULL, 'p'},
                                          {"pull", required_argument, NULL, 'P'},
                                          {"fix", no_argument, NULL, 'f'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"report", required_argument, NULL, 'R'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options o = {0};
    o.site.root = o.root;
    for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (!read_option(&o, option))
            return command_usage("doctor");
    }
    if (!read_clients(&o, argv + optind)) {
        names_deinit(&o.clients);
        return command_usage("doctor");
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct machine machine;
    struct report *report = report_new();
    report_root(report, o.root[0] != '\0' ? o.root : NULL);
    machine_look(o.root, &o.clients, &machine);
    int status = examine(&o, report, &machine);
    machine_deinit(&machine);
    report_free(report);
    names_deinit(&o.clients);
    curl_global_cleanup();
    return status;
}
