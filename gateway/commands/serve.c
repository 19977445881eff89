// SPDX-License-Identifier: Apache-2.0
//
// `pullgate serve`: run the gateway until a signal ends it. The main thread does nothing but wait for signals.

#include "gateway/commands/commands.h"

#include "gateway/front/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { URL_MAX = 512 };

static const char help[] =
    "Usage: pullgate serve [--config FILE]\n"
    "\n"
    "Run the gateway in the foreground. Without --config it listens on 127.0.0.1:5080 by plain HTTP,\n"
    "lets anyone pull from Docker Hub, and refuses everything else.\n"
    "\n"
    "One line a request goes to standard output (or the file that \"log\" names): JSON, or a readable\n"
    "line when standard output is a terminal.\n"
    "\n"
    "  --config FILE   the configuration (docs/configuration.md); `pullgate check` tries one out\n"
    "\n"
    "Signals:\n"
    "  SIGHUP          read the configuration again; a bad file changes nothing and says why\n"
    "  SIGUSR1         reopen the log file\n"
    "  SIGTERM, SIGINT stop accepting, let transfers finish (\"limits\".shutdown_grace), exit with 0;\n"
    "                  a second one ends at once\n"
    "\n"
    "Exit status: 0 after a signal, 1 if it could not start, 2 if the options or the configuration\n"
    "are not usable.\n";

static void block_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, set, NULL); // Before any thread starts: all inherit it.
    signal(SIGPIPE, SIG_IGN);
}

static void print_docker_hint(const char *url) {
    fprintf(stderr,
            "\n"
            "Try it: docker pull %s/library/alpine\n"
            "\n"
            "To send all of docker's pulls through it, put this into /etc/docker/daemon.json and restart docker:\n"
            "\n"
            "    { \"registry-mirrors\": [\"%s\"] }\n"
            "\n"
            "Only Docker Hub is permitted until --config says otherwise (docs/configuration.md).\n\n",
            strstr(url, "://") + 3, url);
}

/// By the first name that the listener is given, which its certificate and clients have too.
static void listener_url(const struct listener_config *l, char *url, size_t size) {
    struct listener_config named = *l;
    if (l->name_count > 0)
        snprintf(named.at.host, sizeof named.at.host, "%s", l->names[0]);
    server_url(&named, url, size);
}

static void print_start(const struct config *c) {
    char url[URL_MAX];
    for (size_t i = 0; i < c->listener_count; i++) {
        listener_url(&c->listeners[i], url, sizeof(url));
        fprintf(stderr, "pullgate %s serves %s\n", PULLGATE_VERSION, url);
    }
    if (c->store.enabled)
        fprintf(stderr, "It keeps what it fetches in %s\n", c->store.directory);
    if (c->monitor)
        fprintf(stderr, "mode: \"monitor\": nothing that the rules deny is refused, it is only logged as \"would\"\n");
    if (c->path == NULL && c->listener_count > 0) {
        server_url(&c->listeners[0], url, sizeof(url));
        print_docker_hint(url);
    }
}

static void reload(struct server *s) {
    char hash[CONFIG_HASH_HEX + 1];
    struct err err = {""};
    if (server_reload(s, hash, &err))
        fprintf(stderr, "pullgate: reloaded, configuration %s\n", hash);
    else
        fprintf(stderr, "pullgate: not reloaded, nothing has changed: %s\n", err.text);
}

/// Until a signal that ends it.
static void wait_for_signals(struct server *s, const sigset_t *set) {
    for (;;) {
        int signal_number = 0;
        sigwait(set, &signal_number);
        if (signal_number == SIGHUP)
            reload(s);
        else if (signal_number == SIGUSR1)
            server_reopen_log(s);
        else
            return;
    }
}

/// From here on a second SIGTERM or SIGINT ends the process at once.
static void let_signals_kill(void) {
    sigset_t deadly;
    sigemptyset(&deadly);
    sigaddset(&deadly, SIGTERM);
    sigaddset(&deadly, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &deadly, NULL);
}

static int serve(const char *path) {
    struct err err = {""};
    sigset_t signals;
    block_signals(&signals);
    struct config *config = config_load(path, NULL, &err);
    if (config == NULL) {
        fprintf(stderr, "pullgate: %s\n", err.text);
        return EXIT_UNUSABLE;
    }
    config_ref(config);
    struct server *s = server_new(config, &err);
    if (s == NULL) {
        fprintf(stderr, "pullgate: cannot start: %s\n", err.text);
        config_unref(config);
        return EXIT_FAILURE;
    }
    print_start(config);
    config_unref(config);
    wait_for_signals(s, &signals);
    let_signals_kill();
    server_stop(s);
    server_free(s);
    return EXIT_SUCCESS;
}

int command_serve(int argc, char **argv) {
    return command_with_config(argc, argv, help, serve);
}
