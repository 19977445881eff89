// SPDX-License-Identifier: Apache-2.0
//
// The program: which command is meant, and the help for the whole.

#include "gateway/commands/commands.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "pullgate is the one registry that your container clients pull through. It decides by your rules what may be\n"
    "pulled, fetches it from the real registry, verifies it, and tells whoever is refused why.\n"
    "\n"
    "Usage: pullgate COMMAND [OPTIONS]\n"
    "\n"
    "  serve     run the gateway\n"
    "  reload    have a running gateway read its configuration again\n"
    "  check     find mistakes in a configuration, without starting anything\n"
    "  explain   say what would happen to an image, and why, without contacting anyone\n"
    "  store     look after what is kept: list, verify, remove, fetch ahead, export, import\n"
    "  ca        the gateway's own certificate authority: make, show, issue, have clients trust it\n"
    "  client    have docker, containerd, podman and others use the gateway and nothing else\n"
    "  doctor    whether this machine's clients use the gateway, and how they could leave it\n"
    "  compliance  how the client machines stand, by what they reported\n"
    "  state     carry the authority and keys to another machine\n"
    "  token     tokens for machines: issue, revoke, rotate the key that signs them\n"
    "  version   print the version, and those of the libraries\n"
    "\n"
    "Try it: this needs no configuration, listens on 127.0.0.1:5080 and permits Docker Hub.\n"
    "\n"
    "  pullgate serve\n"
    "  docker pull 127.0.0.1:5080/docker.io/library/alpine      (in another terminal)\n"
    "\n"
    "Then write a configuration, look at what it means, and serve it:\n"
    "\n"
    "  pullgate check --config pullgate.json\n"
    "  pullgate explain --config pullgate.json alpine ghcr.io/org/app:1.2\n"
    "  pullgate serve --config pullgate.json\n"
    "\n"
    "`pullgate COMMAND --help` says more about each. Every key of the configuration is in docs/configuration.md.\n";

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"serve", command_serve},       {"reload", command_reload},         {"check", command_check},
    {"explain", command_explain},   {"store", command_store},           {"ca", command_ca},
    {"client", command_client},     {"state", command_state},           {"token", command_token},
    {"doctor", command_doctor},     {"compliance", command_compliance}, {"version", command_version},
    {"--version", command_version},
};

int command_usage(const char *command) {
    fprintf(stderr, "`pullgate %s --help` says how it is used.\n", command);
    return EXIT_UNUSABLE;
}

int command_with_config(int argc, char **argv, const char *help_text, int (*run)(const char *config)) {
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *config = NULL;
    for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help_text, stdout);
            return EXIT_SUCCESS;
        }
        if (option != 'c')
            return command_usage(argv[0]);
        config = optarg;
    }
    return optind == argc ? run(config) : command_usage(argv[0]);
}

static bool is_help(const char *word) {
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs(help, stderr);
        return EXIT_UNUSABLE;
    }
    if (is_help(argv[1])) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "pullgate: there is no command \"%s\"; `pullgate --help` lists them.\n", argv[1]);
    return EXIT_UNUSABLE;
}
