// SPDX-License-Identifier: Apache-2.0
//
// Docker Engine. Two stores, which read different files:
//  - the classic one (all there was before 29): `docker pull` knows registry-mirrors for Docker Hub alone, and goes on
//    to Docker Hub in silence whatever the mirror says. Only a proxy that refuses stops it.
//  - containerd's (29, unless the daemon had images of the classic one): certs.d/_default/hosts.toml, for every
//  registry.

#include "gateway/doctor/below.h"
#include "gateway/doctor/daemon_json.h"
#include "gateway/doctor/doctor.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { CONTAINERD_STORE_MAJOR = 29, PROXIES_MAJOR = 23 };

static const char standard_file[] = "/etc/docker/daemon.json", certs_folder[] = "/etc/docker/certs.d";
static const char classic_images[] = "/var/lib/docker/image/overlay2";

struct docker {
    struct doctor *d;
    const struct machine_client *c;
    char *file;         ///< daemon.json, or what the running daemon was given in its place.
    struct names words; ///< The running daemon's command line.
    struct daemon_json json;
    struct doctor_proxy proxy;
    bool classic, containerd; ///< Which stores it may have; both where that is not known.
    bool taken_over;          ///< Docker Hub's name leads to the gateway.
    bool mirrored;            ///< The gateway is among the registry-mirrors.
};

static const char name[] = "docker";

// --- the command line ---

/// "--NAME VALUE" and "--NAME=VALUE" of the running daemon; NULL: it is not that option.
static const char *option_value(const struct names *words, size_t at, const char *option) {
    const char *word = words->at[at];
    size_t len = strlen(option);
    if (strncmp(word, option, len) != 0)
        return NULL;
    if (word[len] == '=')
        return word + len + 1;
    return word[len] == '\0' && at + 1 < words->count ? words->at[at + 1] : NULL;
}

static void find_words(struct docker *k) {
    char *path = mem_printf("/proc/%d/cmdline", (int)k->c->pid);
    struct buf text;
    if (below_text("", path, &text) == BELOW_OK)
        for (size_t at = 0; at < text.len; at += strlen(text.data + at) + 1)
            names_add(&k->words, text.data + at);
    buf_deinit(&text);
    free(path);
}

static void find_file(struct docker *k) {
    k->file = mem_strdup(standard_file);
    if (k->c->pid != 0)
        find_words(k);
    for (size_t i = 1; i < k->words.count; i++) {
        const char *file = option_value(&k->words, i, "--config-file");
        if (file == NULL)
            continue;
        free(k->file);
        k->file = mem_strdup(file);
    }
}

/// Flags say what daemon.json may not say as well: dockerd does not start with both.
static void add_flags(struct docker *k) {
    for (size_t i = 1; i < k->words.count; i++) {
        const char *mirror = option_value(&k->words, i, "--registry-mirror");
        const char *insecure = option_value(&k->words, i, "--insecure-registry");
        if (mirror != NULL)
            names_add(&k->json.mirrors, mirror);
        if (insecure != NULL)
            names_add(&k->json.insecure, insecure);
    }
}

// --- daemon.json ---

static bool read_json(struct docker *k) {
    struct buf text;
    enum below found = below_text(k->d->root, k->file, &text);
    if (found == BELOW_OK)
        daemon_json_read(text.data, text.len, &k->json);
    buf_deinit(&text);
    if (k->json.usable)
        add_flags(k);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE)
        doctor_unreadable(k->d, name, k->file, below_words(found));
    if (found == BELOW_OK && !k->json.usable)
        doctor_open(k->d, name, "unparsable", k->file, "Mend the file.", "dockerd does not start with it: %s",
                    k->json.why.text);
    return found != BELOW_FORBIDDEN && found != BELOW_UNUSABLE;
}

static void find_stores(struct docker *k) {
    bool has_images = below_is_there(k->d->root, classic_images);
    bool old = k->c->major != 0 && k->c->major < CONTAINERD_STORE_MAJOR;
    bool today = k->c->major >= CONTAINERD_STORE_MAJOR;
    if (k->json.store != STORE_UNSAID) {
        k->containerd = k->json.store == STORE_CONTAINERD;
        k->classic = !k->containerd;
        return;
    }
    k->classic = old || has_images || !today;
    k->containerd = !old;
}

static void judge_mirrors(struct docker *k) {
    for (size_t i = 0; i < k->json.mirrors.count; i++) {
        const char *mirror = k->json.mirrors.at[i];
        if (site_is_gateway(k->d->site, mirror))
            k->mirrored = true;
        else
            doctor_leaves(k->d, k->proxy.refuses, name, "other_mirror", k->file, "Name the gateway alone.",
                          "registry-mirrors: images of Docker Hub are asked of %s too", mirror);
    }
}

static void judge_insecure(struct docker *k) {
    for (size_t i = 0; i < k->json.insecure.count; i++) {
        const char *entry = k->json.insecure.at[i];
        if (strncmp(entry, "127.", 4) == 0 || strncmp(entry, "localhost", 9) == 0 || strncmp(entry, "::1", 3) == 0 ||
            site_is_wanted(k->d->site, entry))
            continue;
        bool gateway = site_is_gateway(k->d->site, entry) && !k->d->site->plain;
        if (site_is_gateway(k->d->site, entry) && !gateway)
            continue;
        doctor_leaves(k->d, k->proxy.refuses && !gateway, name, "insecure_registry", k->file,
                      "Take it out of insecure-registries.",
                      gateway ? "the gateway's certificate is not checked (%s): whoever stands between can pose as it"
                              : "insecure-registries: %s is believed without a certificate, whoever answers for it",
                      entry);
    }
}

static void judge_old_proxies(struct docker *k) {
    if (k->json.has_proxies && k->c->major != 0 && k->c->major < PROXIES_MAJOR)
        doctor_open(k->d, name, "unknown_key", k->file, "Take \"proxies\" out; a systemd drop-in sets the proxy.",
                    "dockerd %s does not start with \"proxies\", which it does not know", k->c->version);
}

/// What daemon.json says wins over the environment.
static void find_proxy(struct docker *k) {
    if (k->json.http_proxy != NULL || k->json.https_proxy != NULL)
        k->proxy = judge_proxy(k->d, name, k->file, k->json.http_proxy, k->json.https_proxy, k->json.no_proxy);
    else
        k->proxy = judge_unit_proxy(k->d, k->c, "docker.service", NULL);
}

// --- the classic store ---

static void judge_gateway_folder(struct docker *k) {
    if (k->d->site == NULL || k->d->site->plain)
        return;
    char *ca = mem_printf("%s/%s/ca.crt", certs_folder, k->d->site->host);
    char *certificate = mem_printf("%s/%s/client.cert", certs_folder, k->d->site->host);
    char *key = mem_printf("%s/%s/client.key", certs_folder, k->d->site->host);
    if (below_is_there(k->d->root, ca))
        judge_ca(k->d, name, ca, ca);
    else
        judge_no_ca(k->d, name, ca);
    if (below_is_there(k->d->root, certificate))
        judge_certificate(k->d, name, certificate, key);
    free(ca);
    free(certificate);
    free(key);
}

static void judge_classic(struct docker *k) {
    if (k->taken_over)
        return;
    if (!k->mirrored)
        doctor_open(k->d, name, "unused", k->file, "Name the gateway in registry-mirrors.",
                    "`docker pull` of the classic image store asks the registries themselves: the gateway is not among "
                    "the registry-mirrors");
    else if (!k->proxy.refuses && !k->proxy.set)
        doctor_open(k->d, name, "fallback", k->file, "Have it use the gateway's proxy, which refuses all.",
                    "`docker pull` of the classic image store goes to Docker Hub, in silence, whenever the gateway "
                    "refuses or does not answer; other registries it asks directly");
    else if (!k->proxy.refuses)
        doctor_open(k->d, name, "fallback", k->file, "Have it use the gateway's proxy, which refuses all.",
                    "`docker pull` of the classic image store goes on to Docker Hub through its proxy whenever the "
                    "gateway refuses or does not answer");
    judge_gateway_folder(k);
}

// --- containerd's store, and BuildKit in both ---

static void judge_containerd_store(struct docker *k, bool *uses) {
    struct hosts_judgement hosts;
    judge_hosts(k->d, name, certs_folder, HOSTS_CONTAINERD_2, k->proxy.refuses, &hosts);
    *uses = hosts.gateway;
    if (hosts.found)
        return;
    char *where = mem_printf("%s/_default/hosts.toml", certs_folder);
    if (k->mirrored && k->proxy.refuses)
        report_add(
            k->d->report, FINDING_NOTE, "configured", name, where, NULL, fix_command(name),
            "there is none: only images of Docker Hub come from the gateway, all others are refused by its proxy");
    else if (k->mirrored)
        doctor_open(k->d, name, "fallback", where, "Name the gateway as `server` there.",
                    "there is none: images of Docker Hub come from it whenever the gateway refuses or does not answer, "
                    "all others always come past the gateway");
    else if (!k->taken_over)
        doctor_open(k->d, name, "unused", where, "Name the gateway as `server` there.",
                    "there is none, and the gateway is no registry-mirror: images come from the registries themselves");
    free(where);
}

static void judge_rest(struct docker *k) {
    if (k->proxy.set)
        return;
    judge_no_proxy(k->d, name, k->classic,
                   "`docker login`, `docker search`, `docker pull -a`, ADD https://... in a build and `urls` in a "
                   "manifest go past the gateway");
}

static void judge_rootless(struct docker *k) {
    for (size_t i = 0; i < k->d->machine->homes.count; i++) {
        char *path = mem_printf("%s/.config/docker/daemon.json", k->d->machine->homes.at[i]);
        if (below_is_there(k->d->root, path))
            report_add(k->d->report, FINDING_WARNING, "user_configuration", name, path,
                       "Look at it, or keep users from daemons of their own.", NULL,
                       "a daemon of this user's own (rootless) reads this file, and not "
                       "/etc/docker");
        free(path);
    }
}

static void judge_builders(struct docker *k) {
    for (size_t i = 0; i < k->d->machine->homes.count; i++) {
        struct names builders = {0};
        char *folder = mem_printf("%s/.docker/buildx/instances", k->d->machine->homes.at[i]);
        below_matching(k->d->root, folder, "", &builders);
        for (size_t j = 0; j < builders.count; j++)
            judge_builder(k->d, name, builders.at[j]);
        names_deinit(&builders);
        free(folder);
    }
}

void judge_docker(struct doctor *d, const struct machine_client *c) {
    struct docker k = {.d = d, .c = c, .taken_over = doctor_taken_over(d, "registry-1.docker.io")};
    bool uses = false;
    k.json.usable = true;
    find_file(&k);
    if (read_json(&k) && k.json.usable) {
        find_stores(&k);
        judge_old_proxies(&k);
        find_proxy(&k);
        judge_mirrors(&k);
        judge_insecure(&k);
        judge_age(d, c, k.file, "systemctl restart docker");
        if (k.containerd)
            judge_containerd_store(&k, &uses);
        if (k.classic)
            judge_classic(&k);
        judge_rest(&k);
    }
    if (k.taken_over)
        report_add(d->report, FINDING_OK, "takeover", name, "/etc/hosts", NULL, NULL,
                   "Docker Hub's own name leads to the gateway");
    judge_rootless(&k);
    judge_builders(&k);
    doctor_settle(d, name, uses || k.mirrored || k.taken_over);
    daemon_json_deinit(&k.json);
    names_deinit(&k.words);
    free(k.file);
}
