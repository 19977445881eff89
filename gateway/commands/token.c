// SPDX-License-Identifier: Apache-2.0
//
// `pullgate token`: tokens for machines.
//
// A token goes to standard output and nothing else does. The gateway need not run; it reads what changed within a
// second or two.

#include "gateway/commands/commands.h"

#include "gateway/config/config.h"
#include "gateway/identity/identity.h"
#include "mirrors/base/mem.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: pullgate token issue --name NAME --ttl TIME [--groups A,B] [--config FILE]\n"
    "       pullgate token revoke ID|NAME [--config FILE]\n"
    "       pullgate token rotate [--config FILE]\n"
    "\n"
    "Tokens for machines that cannot log in: containerd's hosts.toml takes one as a header. The running\n"
    "gateway notices each within two seconds.\n"
    "\n"
    "  issue    print a token for user:NAME, and nothing else\n"
    "  revoke   no token with this id (its \"jti\"), or of this name issued until now, is good any more\n"
    "  rotate   sign with a new key from now on; the old one is good until its tokens have ended\n"
    "\n"
    "  --config FILE   whose \"state_directory\" is meant\n"
    "  --name NAME     who the token is for; rules speak of \"user:NAME\"\n"
    "  --groups A,B    groups that it names; rules speak of \"group:A\"\n"
    "  --ttl TIME      how long it lasts: 12h, 30d; 400d at most\n"
    "\n"
    "Exit status: 0 done, 1 it could not be done, 2 the options or the configuration are not usable.\n";

struct options {
    const char *config, *name, *ttl;
    char *groups;
};

enum { GROUPS_MAX = IDENTITY_GROUPS_MAX + 1, TTL_DIGITS_MAX = 9 };

/// "90s", "15m", "12h", "30d"; 0: none of these.
static int64_t read_ttl(const char *text) {
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > TTL_DIGITS_MAX || strlen(text) != digits + 1)
        return 0;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (text[digits] == units[i].unit)
            return strtoll(text, NULL, 10) * units[i].seconds;
    return 0;
}

static size_t split(char *list, const char **out) {
    size_t count = 0;
    for (char *save = NULL, *one = list == NULL ? NULL : strtok_r(list, ",", &save); one != NULL && count < GROUPS_MAX;
         one = strtok_r(NULL, ",", &save))
        out[count++] = one;
    return count;
}

static int fail(const struct err *err) {
    fprintf(stderr, "pullgate: %s\n", err->text);
    return EXIT_FAILURE;
}

static int issue(const char *directory, const struct options *o) {
    const char *groups[GROUPS_MAX];
    struct err err = {""};
    int64_t ttl = o->ttl != NULL ? read_ttl(o->ttl) : 0;
    if (o->name == NULL || ttl == 0) {
        fprintf(stderr, "pullgate: --name NAME and --ttl TIME (such as 30d) are needed\n");
        return EXIT_UNUSABLE;
    }
    char *token = identity_issue(directory, o->name, groups, split(o->groups, groups), ttl, &err);
    if (token == NULL)
        return fail(&err);
    bool written = puts(token) >= 0 && fflush(stdout) == 0;
    mem_wipe(token);
    return written ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int act(const char *directory, const char *what, const char *argument, const struct options *o) {
    struct err err = {""};
    if (strcmp(what, "issue") == 0 && argument == NULL)
        return issue(directory, o);
    if (strcmp(what, "revoke") == 0 && argument != NULL)
        return identity_revoke(directory, argument, &err) ? EXIT_SUCCESS : fail(&err);
    if (strcmp(what, "rotate") == 0 && argument == NULL)
        return identity_rotate(directory, &err) ? EXIT_SUCCESS : fail(&err);
    return command_usage("token");
}

static int with_config(const char *what, const char *argument, const struct options *o) {
    struct err err = {""};
    struct config *config = config_load(o->config, NULL, &err);
    int result = EXIT_UNUSABLE;
    if (config == NULL)
        fprintf(stderr, "pullgate: %s\n", err.text);
    else if (config->state_directory == NULL)
        fprintf(stderr, "pullgate: the configuration names no \"state_directory\"\n");
    else
        result = act(config->state_directory, what, argument, o);
    config_unref(config);
    return result;
}

int command_token(int argc, char **argv) {
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'}, {"name", required_argument, NULL, 'n'},
        {"groups", required_argument, NULL, 'g'}, {"ttl", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},         {0}};
    struct options o = {0};
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (option == 'c')
            o.config = optarg;
        else if (option == 'n')
            o.name = optarg;
        else if (option == 'g')
            o.groups = optarg;
        else if (option == 't')
            o.ttl = optarg;
        else
            return command_usage(argv[0]);
    }
    if (argc - optind < 1 || argc - optind > 2)
        return command_usage(argv[0]);
    return with_config(argv[optind], argc - optind == 2 ? argv[optind + 1] : NULL, &o);
}
