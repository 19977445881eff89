// SPDX-License-Identifier: Apache-2.0
//
// `pullgate ca`: the gateway's own authority. `trust` is in ca_trust.c.

#include "gateway/commands/ca.h"
#include "gateway/commands/commands.h"

#include "certs/state.h"
#include "mirrors/base/mem.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ISSUE_DAYS = 90, ISSUE_DAYS_MAX = 825, FINGERPRINT_MAX = 96 };

static const char help[] =
    "Usage: pullgate ca COMMAND [--config FILE] [OPTIONS]\n"
    "\n"
    "The gateway's own certificate authority. It is kept in \"state_directory\" and issues the certificates of "
    "listeners\n"
    "with \"tls\": \"auto\" and of registries whose names are taken over. `serve` makes it when it is first needed.\n"
    "\n"
    "  init                   make it now, and say its fingerprint\n"
    "      --replace          put the one that is there aside and make another; clients have to trust that one then\n"
    "  show                   print its certificate (PEM); what it is, on standard error\n"
    "  issue NAME...          a certificate for these host names and addresses, for a server of yours: writes "
    "NAME.crt\n"
    "                         (with the authority's behind it) and NAME.key\n"
    "      --out DIR          where to (default: here); files that are there are never overwritten\n"
    "      --days N           for how long (default: 90)\n"
    "  trust CLIENT           print, as a shell script, the files that make a client trust it: docker, containerd,\n"
    "                         podman or system (all programs of a machine: only if you want that)\n"
    "      --write            write them on this machine instead\n"
    "\n"
    "  --config FILE          the configuration that the gateway runs with\n"
    "\n"
    "Exit status: 0 done, 1 it could not be done, 2 options or the configuration are not usable.\n"
    "\n"
    "Examples:\n"
    "  pullgate ca show --config pullgate.json > ca.crt\n"
    "  pullgate ca trust docker --config pullgate.json | ssh host sudo sh\n"
    "  pullgate ca trust podman --config pullgate.json --write\n";

struct options {
    const char *command, *config, *out;
    long days;
    bool replace, write;
    char **words;
    int word_count;
};

static int fail(const struct err *err) {
    fprintf(stderr, "pullgate ca: %s\n", err->text);
    return EXIT_FAILURE;
}

static bool is_site_owned(const struct config *c) {
    return c->ca_certificate != NULL;
}

static struct authority *open_authority(const struct config *c, bool make, struct err *err) {
    if (is_site_owned(c))
        return authority_load(c->ca_certificate, c->ca_key, err);
    if (c->state_directory == NULL) {
        err_set(err, "there is no state directory: write \"state_directory\"");
        return NULL;
    }
    struct err ignored;
    if (!make && state_directory(c->state_directory, false, &ignored) == STATE_MISSING) {
        err_set(err, "%s: there is no authority yet: `pullgate ca init` makes one, and so does a start of the gateway",
                c->state_directory);
        return NULL;
    }
    size_t count = 0;
    char **names = make && c->ca_name_constraints ? config_authority_names(c, &count) : NULL;
    struct authority *a = authority_open(c->state_directory, make, (const char *const *)names, count, err);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return a;
}

static void describe(const struct config *c, const struct authority *a) {
    char fingerprint[FINGERPRINT_MAX], day[32] = "?";
    time_t ends = (time_t)authority_ends(a);
    struct tm tm;
    if (gmtime_r(&ends, &tm) != NULL)
        strftime(day, sizeof(day), "%Y-%m-%d", &tm);
    authority_fingerprint(a, fingerprint);
    fprintf(stderr, "authority of %s, good until %s\nSHA-256 %s\n",
            is_site_owned(c) ? c->ca_certificate : c->state_directory, day, fingerprint);
}

static int init(const struct config *c, const struct options *o) {
    struct err err;
    if (is_site_owned(c)) {
        fprintf(stderr, "pullgate ca: the configuration names an authority of yours (%s): there is none to make\n",
                c->ca_certificate);
        return EXIT_UNUSABLE;
    }
    if (o->replace && c->state_directory != NULL && !authority_retire(c->state_directory, &err))
        return fail(&err);
    struct authority *a = open_authority(c, true, &err);
    if (a == NULL)
        return fail(&err);
    describe(c, a);
    fprintf(stderr, "Have clients trust it: `pullgate ca trust docker|containerd|podman`.\n");
    if (o->replace)
        fprintf(stderr, "A running gateway uses it after `pullgate reload`.\n");
    authority_unref(a);
    return EXIT_SUCCESS;
}

static int show(const struct config *c) {
    struct err err;
    struct authority *a = open_authority(c, false, &err);
    if (a == NULL)
        return fail(&err);
    fputs(authority_pem(a), stdout);
    describe(c, a);
    authority_unref(a);
    return EXIT_SUCCESS;
}

// --- issue ---

static bool write_new(const char *directory, const char *name, const char *text, bool secret, struct err *err) {
    enum state_result result = state_write(directory, name, text, strlen(text), secret, false, err);
    if (result == STATE_MISSING)
        err_set(err, "%s/%s is there already, and is not overwritten", directory, name);
    return result == STATE_OK;
}

static bool write_issued(const struct options *o, const char *certificate, const char *key, struct err *err) {
    char *crt = mem_printf("%s.crt", o->words[0]), *pem = mem_printf("%s.key", o->words[0]);
    bool ok = write_new(o->out, pem, key, true, err) && write_new(o->out, crt, certificate, false, err);
    if (ok)
        fprintf(stderr, "%s/%s and %s/%s, for %ld days\n", o->out, crt, o->out, pem, o->days);
    free(crt);
    free(pem);
    return ok;
}

static bool check_names(const struct authority *a, const struct options *o, struct err *err) {
    struct hostport at;
    for (int i = 0; i < o->word_count; i++) {
        if (!hostport_parse(o->words[i], strlen(o->words[i]), &at, err) || at.port != 0)
            return err_set(err, "%s: expected a host name or an address", o->words[i]);
        if (!authority_permits(a, o->words[i]))
            return err_set(err, "the authority's name constraints leave out %s", o->words[i]);
    }
    return true;
}

static int issue(const struct config *c, const struct options *o) {
    struct err err;
    char *certificate = NULL, *key = NULL;
    struct authority *a = open_authority(c, false, &err);
    bool ok = a != NULL && check_names(a, o, &err) &&
              authority_issue_pem(a, (const char *const *)o->words, (size_t)o->word_count, (int64_t)time(NULL),
                                  (unsigned)o->days, &certificate, &key, &err) &&
              write_issued(o, certificate, key, &err);
    free(certificate);
    mem_wipe(key);
    authority_unref(a);
    return ok ? EXIT_SUCCESS : fail(&err);
}

static int trust(const struct config *c, const struct options *o) {
    struct err err;
    struct authority *a = open_authority(c, false, &err);
    if (a == NULL)
        return fail(&err);
    bool ok = ca_trust(c, a, o->words[0], o->write, &err);
    authority_unref(a);
    return ok ? EXIT_SUCCESS : fail(&err);
}

// --- which ---

static int run(const struct config *c, const struct options *o) {
    if (strcmp(o->command, "init") == 0 && o->word_count == 0)
        return init(c, o);
    if (strcmp(o->command, "show") == 0 && o->word_count == 0)
        return show(c);
    if (strcmp(o->command, "issue") == 0 && o->word_count > 0)
        return issue(c, o);
    if (strcmp(o->command, "trust") == 0 && o->word_count == 1 && ca_trust_known(o->words[0]))
        return trust(c, o);
    return command_usage("ca");
}

static bool read_option(int option, struct options *o) {
    char *end;
    switch (option) {
    case 'c':
        o->config = optarg;
        return true;
    case 'r':
        o->replace = true;
        return true;
    case 'w':
        o->write = true;
        return true;
    case 'o':
        o->out = optarg;
        return true;
    case 'd':
        o->days = strtol(optarg, &end, 10);
        return *end == '\0' && o->days >= 1 && o->days <= ISSUE_DAYS_MAX;
    default:
        return false;
    }
}

int command_ca(int argc, char **argv) {
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"replace", no_argument, NULL, 'r'},
                                          {"write", no_argument, NULL, 'w'},
                                          {"out", required_argument, NULL, 'o'},
                                          {"days", required_argument, NULL, 'd'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options o = {.out = ".", .days = ISSUE_DAYS};
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (!read_option(option, &o))
            return command_usage("ca");
    }
    if (optind >= argc)
        return command_usage("ca");
    o.command = argv[optind];
    o.words = argv + optind + 1;
    o.word_count = argc - optind - 1;
    struct err err;
    struct config *c = config_load(o.config, NULL, &err);
    if (c == NULL) {
        fprintf(stderr, "pullgate: %s\n", err.text);
        return EXIT_UNUSABLE;
    }
    int status = run(c, &o);
    config_unref(c);
    return status;
}
