// SPDX-License-Identifier: Apache-2.0
//
// `pullgate reload`: have the running gateway read its configuration again, and wait for the result.

#include "gateway/commands/commands.h"

#include "gateway/config/config.h"
#include "gateway/front/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: pullgate reload [--config FILE]\n"
    "\n"
    "Have the running gateway read its configuration file again, as SIGHUP does, and wait for the\n"
    "result. The gateway is found by the \"control\" socket that FILE names (or by default).\n"
    "\n"
    "  --config FILE   the configuration that the gateway runs with\n"
    "\n"
    "Exit status: 0 reloaded, 1 refused (nothing has changed; the reason is printed), 2 no gateway\n"
    "could be reached or the options are not usable.\n";

static int report(const char *answer) {
    if (strncmp(answer, "ok ", 3) == 0) {
        printf("reloaded: configuration %s\n", answer + 3);
        return EXIT_SUCCESS;
    }
    const char *why = strncmp(answer, "error ", 6) == 0 ? answer + 6 : answer;
    fprintf(stderr, "pullgate: not reloaded, nothing has changed: %s\n", why);
    return EXIT_FAILURE;
}

/// The file may be just what a reload would refuse; then the default socket is tried.
static char *control_path(const char *config_path, struct err *err) {
    struct config *c = config_load(config_path, NULL, err);
    struct config *fallback = c == NULL ? config_load(NULL, NULL, NULL) : NULL;
    const struct config *from = c != NULL ? c : fallback;
    char *path = from != NULL && from->control != NULL ? strdup(from->control) : NULL;
    config_unref(c);
    config_unref(fallback);
    return path;
}

static int reload(const char *config_path) {
    char answer[CONTROL_LINE_MAX];
    struct err err = {""}, config_err = {""};
    char *path = control_path(config_path, &config_err);
    if (path == NULL) {
        fprintf(stderr, "pullgate: there is no control socket to speak to%s%s\n",
                config_err.text[0] != '\0' ? ": " : "", config_err.text);
        return EXIT_UNUSABLE;
    }
    bool asked = control_ask(path, "reload", answer, &err);
    free(path);
    if (asked)
        return report(answer);
    if (config_err.text[0] != '\0') // Then it was the default socket that was tried.
        fprintf(stderr, "pullgate: the configuration cannot be read, nothing has changed: %s\n", config_err.text);
    fprintf(stderr, "pullgate: %s\n", err.text);
    return EXIT_UNUSABLE;
}

int command_reload(int argc, char **argv) {
    return command_with_config(argc, argv, help, reload);
}
