// SPDX-License-Identifier: Apache-2.0
//
// `pullgate ca trust`: the files that make container clients trust the authority, for the names under which they meet
// it: the gateway's own, and with takeover those of registries. Never the system's store unless that was asked for.

#include "gateway/commands/ca.h"

#include "certs/state.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HOSTS_TOML_MAX = 8 * 1024 };

static const char docker_folder[] = "/etc/docker/certs.d";
static const char containerd_folder[] = "/etc/containerd/certs.d";
static const char podman_folder[] = "/etc/containers/certs.d";
static const char system_folder[] = "/usr/local/share/ca-certificates";

struct trust {
    const struct config *config;
    const char *pem;
    bool write;
    struct err *err;
};

bool ca_trust_known(const char *client) {
    return strcmp(client, "docker") == 0 || strcmp(client, "containerd") == 0 || strcmp(client, "podman") == 0 ||
           strcmp(client, "system") == 0;
}

// --- one file ---

static bool make_folders(const char *directory, struct err *err) {
    char *path = mem_strdup(directory);
    bool ok = true;
    for (char *slash = path; ok && slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        ok = mkdir(path, 0755) == 0 || errno == EEXIST || err_set(err, "%s: %s", path, strerror(errno));
        if (slash != NULL)
            *slash = '/';
    }
    free(path);
    return ok;
}

static void print_file(const char *directory, const char *name, const char *text) {
    printf("mkdir -p '%s'\ncat > '%s/%s' <<'EOF'\n%sEOF\n\n", directory, directory, name, text);
}

/// Not `replace`: a file that is there may say more than ours would, and stays.
static bool give(const struct trust *t, const char *directory, const char *name, const char *text, bool replace) {
    if (!t->write) {
        print_file(directory, name, text);
        return true;
    }
    if (!make_folders(directory, t->err))
        return false;
    enum state_result result = state_write(directory, name, text, strlen(text), false, replace, t->err);
    if (result == STATE_OK)
        fprintf(stderr, "wrote %s/%s\n", directory, name);
    if (result == STATE_MISSING)
        fprintf(stderr, "%s/%s is there already and stays as it is: add the line with \"ca\" of `ca trust` to it\n",
                directory, name);
    return result != STATE_FAILED;
}

// --- under which names ---

typedef bool (*name_fn)(const struct trust *t, const char *at, const char *server);

static bool for_listener(const struct trust *t, const struct listener_config *l, name_fn fn) {
    for (size_t i = 0; l->tls_auto && i < l->name_count; i++) {
        struct hostport hp = l->at;
        char text[HOSTPORT_TEXT_MAX + 1];
        memcpy(hp.host, l->names[i], strlen(l->names[i]) + 1);
        hostport_format(&hp, text);
        text[hostport_shown(text)] = '\0';
        char *server = mem_printf("https://%s", text);
        bool ok = fn(t, text, server);
        free(server);
        if (!ok)
            return false;
    }
    return true;
}

static bool takes_over(const struct config *c) {
    bool found = false;
    for (size_t i = 0; i < c->listener_count; i++)
        found = found || c->listeners[i].takeover || c->listeners[i].connect == CONNECT_TAKEOVER;
    return found;
}

static bool for_registry(const struct trust *t, const struct registry *r, name_fn fn) {
    for (size_t i = 0; i < r->alias_count; i++) {
        char *server = mem_printf("https://%s", r->aliases[i]);
        bool ok = fn(t, r->aliases[i], server);
        free(server);
        if (!ok)
            return false;
    }
    bool own = r->endpoint_count > 0 && r->endpoints[0].own_host && !r->endpoints[0].plain;
    char *server = own ? mem_strdup(r->endpoints[0].base) : mem_printf("https://%s", r->name);
    bool ok = fn(t, r->name, server);
    free(server);
    return ok;
}

static bool for_each_name(const struct trust *t, name_fn fn) {
    const struct config *c = t->config;
    for (size_t i = 0; i < c->listener_count; i++)
        if (!for_listener(t, &c->listeners[i], fn))
            return false;
    for (size_t i = 0; takes_over(c) && i < c->exact_registry_count; i++)
        if (!c->registry_origins[i].implied && !for_registry(t, c->registries[i], fn))
            return false;
    return true;
}

// --- the clients ---

static bool give_certificate(const struct trust *t, const char *folder, const char *at) {
    char *directory = mem_printf("%s/%s", folder, at);
    bool ok = give(t, directory, "ca.crt", t->pem, true);
    free(directory);
    return ok;
}

static bool docker_name(const struct trust *t, const char *at, const char *server) {
    return give_certificate(t, docker_folder, at);
}

static bool podman_name(const struct trust *t, const char *at, const char *server) {
    return give_certificate(t, podman_folder, at);
}

static bool containerd_name(const struct trust *t, const char *at, const char *server) {
    struct buf b;
    buf_init(&b, HOSTS_TOML_MAX);
    char *directory = mem_printf("%s/%s", containerd_folder, at);
    buf_addf(&b, "server = \"%s\"\nca = \"/etc/containerd/pullgate-ca.crt\"\n", server);
    bool ok = give(t, directory, "hosts.toml", b.data, false);
    free(directory);
    buf_deinit(&b);
    return ok;
}

static void remark(const struct trust *t, const char *text) {
    fprintf(t->write ? stderr : stdout, "# %s\n", text);
}

static bool trust_docker(const struct trust *t) {
    if (takes_over(t->config)) {
        remark(t, "dockerd without the containerd image store asks Docker Hub by the system's trust alone:");
        remark(t, "where docker.io is taken over it needs `pullgate ca trust system` too.");
        remark(t, "A folder of a registry's name hides /etc/docker/certs.d/_default/hosts.toml for that registry.");
    }
    return for_each_name(t, docker_name);
}

static bool trust_containerd(const struct trust *t) {
    remark(t,
           "containerd reads this where its config_path is /etc/containerd/certs.d. Where a hosts.toml (_default or");
    remark(t, "another) names the gateway already, that file needs the line with \"ca\" instead.");
    return give(t, "/etc/containerd", "pullgate-ca.crt", t->pem, true) && for_each_name(t, containerd_name);
}

static bool trust_system(const struct trust *t) {
    remark(t, "Every program of the machine will trust what this authority issues.");
    if (!give(t, system_folder, "pullgate.crt", t->pem, true))
        return false;
    if (!t->write) {
        printf("update-ca-certificates\n");
        return true;
    }
    return system("update-ca-certificates") == 0 || // NOLINT: a fixed command, asked for by name.
           err_set(t->err, "update-ca-certificates failed");
}

bool ca_trust(const struct config *c, const struct authority *a, const char *client, bool write, struct err *err) {
    struct trust t = {.config = c, .pem = authority_pem(a), .write = write, .err = err};
    if (strcmp(client, "docker") == 0)
        return trust_docker(&t);
    if (strcmp(client, "podman") == 0)
        return for_each_name(&t, podman_name);
    return strcmp(client, "containerd") == 0 ? trust_containerd(&t) : trust_system(&t);
}
