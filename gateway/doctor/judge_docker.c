// SPDX-License-Identifier: Apache-2.0
//
// Docker Engine. Two stores, which read different files:
//  - the classic one (all there was before 29): `docker pull` knows registry-mirrors for Docker Hub alone, and goes on
//    to Docker Hub in silence whatever the mirror says. Only a proxy that refuses stops it.
//  - containerd's (29, unless the daemon had images of the classic one): certs.d/_default/hosts.toml, for every
//  registry.

#include "gateway/doctor/below.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/daemon_json.h"
#include "gateway/doctor/doctor.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { CONTAINERD_STORE_MAJOR = 29, PROXIES_MAJOR = 23, MARK_MAJOR = 23, REFERRERS_MINOR = 7 };

static const char standard_file[] = "/etc/docker/daemon.json", certs_folder[] = "/etc/docker/certs.d";
static const char unit[] = "docker.service", standard_data[] = "/var/lib/docker";

/// Docker Engine 29 stays with the classic store where one of these has been used. ("vfs" is not looked at by it.)
static const char *const classic_drivers[] = {"overlay2", "fuse-overlayfs", "btrfs", "zfs"};

struct docker {
    struct doctor *d;
    const struct machine_client *c;
    bool rootless;      ///< A user's own daemon: no unit of the machine's is its.
    bool other;         ///< A further process: nor is it this one's, but its environment is.
    char *file, *certs; ///< daemon.json, or what the daemon is given in its place; the folder of host directories.
    const char *data;   ///< The usual place for images.
    struct names words; ///< The daemon's command line.
    struct daemon_json json;
    struct doctor_proxy proxy;
    bool classic, containerd; ///< Which stores it may have; both where that is not known.
    bool store_unknown;       ///< It has one of them, and this user may not see which.
    bool taken_over;          ///< Docker Hub's name leads to the gateway.
    bool mirrored;            ///< The gateway is among the registry-mirrors.
};

static const char name[] = "docker";

// --- the command line ---

static void find_file(struct docker *k) {
    if (!k->rootless)
        daemon_words(k->d, k->c, unit, &k->words);
    const char *file = option_last(&k->words, "--config-file");
    if (file == NULL)
        return;
    free(k->file);
    k->file = mem_strdup(file);
}

static void take_flag(const struct names *words, const char *option, char **into) {
    const char *value = option_last(words, option);
    if (value == NULL)
        return;
    free(*into);
    *into = mem_strdup(value);
}

/// Flags say what daemon.json may not say as well: dockerd does not start with both.
static void add_flags(struct docker *k) {
    static const char feature[] = "containerd-snapshotter";
    for (size_t i = 1; i < k->words.count; i++) {
        const char *mirror = option_value(&k->words, i, "--registry-mirror");
        const char *insecure = option_value(&k->words, i, "--insecure-registry");
        const char *store = option_value(&k->words, i, "--feature");
        if (mirror != NULL)
            names_add(&k->json.mirrors, mirror);
        if (insecure != NULL)
            names_add(&k->json.insecure, insecure);
        if (store != NULL && strncmp(store, feature, strlen(feature)) == 0)
            k->json.store =
                strstr(store, "=false") != NULL || strstr(store, "=0") != NULL ? STORE_CLASSIC : STORE_CONTAINERD;
    }
    take_flag(&k->words, "--http-proxy", &k->json.http_proxy);
    take_flag(&k->words, "--https-proxy", &k->json.https_proxy);
    take_flag(&k->words, "--no-proxy", &k->json.no_proxy);
    take_flag(&k->words, "--storage-driver", &k->json.driver);
    take_flag(&k->words, "-s", &k->json.driver);
    take_flag(&k->words, "--data-root", &k->json.data_root);
}

// --- daemon.json ---

/// A byte order mark, which 23.0 and newer pass over and older ones do not take; of a version that is not known, both.
static size_t passed_over(const struct docker *k, const struct buf *text) {
    static const char mark[] = "\xef\xbb\xbf";
    size_t len = strlen(mark);
    return k->c->major >= MARK_MAJOR && text->len >= len && memcmp(text->data, mark, len) == 0 ? len : 0;
}

static bool read_json(struct docker *k) {
    struct buf text;
    enum below found = below_text(k->d->root, k->file, &text);
    if (found == BELOW_OK)
        daemon_json_read(text.data + passed_over(k, &text), text.len - passed_over(k, &text), &k->json);
    buf_deinit(&text);
    if (k->json.usable)
        add_flags(k);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE)
        doctor_unreadable(k->d, name, k->file, below_words(found));
    if (found == BELOW_OK && !k->json.usable)
        doctor_unparsable(k->d, name, k->file, "dockerd does not start with it: %s", k->json.why.text);
    return found != BELOW_FORBIDDEN && found != BELOW_UNUSABLE;
}

static bool is_classic_driver(const char *driver) {
    for (size_t i = 0; i < sizeof classic_drivers / sizeof *classic_drivers; i++)
        if (strcmp(classic_drivers[i], driver) == 0)
            return true;
    return strcmp(driver, "vfs") == 0;
}

/// Anything in the folder of a classic driver.
static bool has_images(struct docker *k) {
    const char *data = k->json.data_root != NULL ? k->json.data_root : k->data;
    bool has = false;
    for (size_t i = 0; i < sizeof classic_drivers / sizeof *classic_drivers && !has; i++) {
        struct names all = {0};
        char *folder = mem_printf("%s/%s", data, classic_drivers[i]);
        k->store_unknown |= below_folder(k->d->root, folder, &all) == BELOW_FORBIDDEN;
        has = all.count > 0;
        names_deinit(&all);
        free(folder);
    }
    return has;
}

/// Before 29 neither store reads hosts.toml; what holds for the classic one holds for both then.
static void find_stores(struct docker *k) {
    bool old = k->c->major != 0 && k->c->major < CONTAINERD_STORE_MAJOR, known = k->c->major != 0;
    k->containerd = !old;
    k->classic = old || !known;
    if (old)
        return;
    if (k->json.store != STORE_UNSAID) {
        k->classic |= k->json.store == STORE_CLASSIC;
        k->containerd = k->json.store == STORE_CONTAINERD;
    } else
        k->classic |= has_images(k) || (k->json.driver != NULL && is_classic_driver(k->json.driver));
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
        bool block = strchr(entry, '/') != NULL; // Addresses, of which the gateway's may be one.
        doctor_leaves(k->d, k->proxy.refuses && !gateway && !block, name, "insecure_registry", k->file,
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

/// Each thing that daemon.json says wins over the environment.
static void find_proxy(struct docker *k) {
    struct proxy_settings own = {k->file, k->json.http_proxy, k->json.https_proxy, k->json.no_proxy};
    if (k->other)
        k->proxy = judge_process_proxy(k->d, k->c, &own);
    else if (k->rootless)
        k->proxy = judge_proxy(k->d, name, k->file, own.http, own.https, own.no);
    else
        k->proxy = judge_unit_proxy(k->d, k->c, unit, NULL, &own);
}

// --- the classic store ---

static void judge_gateway_folder(struct docker *k) {
    if (k->d->site == NULL || k->d->site->plain)
        return;
    char *ca = mem_printf("%s/%s/ca.crt", k->certs, k->d->site->host);
    char *certificate = mem_printf("%s/%s/client.cert", k->certs, k->d->site->host);
    char *key = mem_printf("%s/%s/client.key", k->certs, k->d->site->host);
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

/// A hosts file knows no wildcards: names that it does not lead to the gateway lead where they always did.
static void judge_not_taken(struct docker *k) {
    struct names direct = {0};
    for (size_t i = 0; i < k->d->site->registry_count; i++) {
        const char *registry = k->d->site->registries[i].name;
        if (strcmp(registry, "docker.io") != 0 && !doctor_taken_over(k->d, registry))
            names_add(&direct, registry);
    }
    char *text = names_text(&direct, 4);
    if (!k->proxy.refuses)
        doctor_open(k->d, name, "unlisted_registry", "/etc/hosts",
                    "Have it use the gateway's proxy, which refuses all.",
                    "registries whose names do not lead to the gateway are asked directly: %s%sall that the site does "
                    "not serve",
                    text, direct.count > 0 ? ", and " : "");
    free(text);
    names_deinit(&direct);
}

static void judge_classic(struct docker *k) {
    if (k->taken_over) {
        judge_not_taken(k);
        return;
    }
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
    bool new = machine_at_least(k->c, CONTAINERD_STORE_MAJOR, REFERRERS_MINOR);
    judge_hosts(k->d, name, k->certs, new ? HOSTS_CONTAINERD_2_2 : HOSTS_CONTAINERD_2, k->proxy.refuses, &hosts);
    *uses = hosts.gateway;
    if (hosts.found)
        return;
    char *where = mem_printf("%s/_default/hosts.toml", k->certs);
    if (k->mirrored && k->proxy.refuses)
        report_add(
            k->d->report, FINDING_NOTE, "configured", name, where, NULL, fix_command(name),
            "there is none: only images of Docker Hub come from the gateway, all others are refused by its proxy");
    else if (k->mirrored)
        doctor_open(k->d, name, "fallback", where, "Name the gateway as `server` there.",
                    "there is none: images of Docker Hub come from it whenever the gateway refuses or does not answer, "
                    "all others always come past the gateway");
    else if (k->taken_over && !k->classic)
        judge_not_taken(k);
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

static void judge_store_unknown(struct docker *k) {
    if (k->store_unknown && !k->classic && !k->taken_over && !(k->mirrored && k->proxy.refuses))
        doctor_unreadable(k->d, name, k->json.data_root != NULL ? k->json.data_root : k->data,
                          "which image store the daemon has cannot be told, and the classic one reads no hosts.toml");
}

// --- a daemon ---

/// True: it uses the gateway.
static bool judge_daemon(struct docker *k) {
    bool uses = false;
    k->json.usable = true;
    find_file(k);
    if (read_json(k) && k->json.usable) {
        find_stores(k);
        judge_old_proxies(k);
        find_proxy(k);
        judge_mirrors(k);
        judge_insecure(k);
        judge_age(k->d, k->c, k->file, "systemctl restart docker");
        if (k->containerd)
            judge_containerd_store(k, &uses);
        if (k->classic)
            judge_classic(k);
        judge_store_unknown(k);
        judge_rest(k);
    }
    return uses || k->mirrored || k->taken_over;
}

static void docker_deinit(struct docker *k) {
    daemon_json_deinit(&k->json);
    names_deinit(&k->words);
    free(k->file);
    free(k->certs);
}

// --- users' own daemons ---

static bool has_rootless(const struct doctor *d, const char *home) {
    static const char *const marks[] = {".config/docker/daemon.json", ".config/docker/certs.d", ".local/share/docker",
                                        ".config/systemd/user/docker.service"};
    bool has = false;
    for (size_t i = 0; i < sizeof marks / sizeof *marks && !has; i++) {
        char *path = mem_printf("%s/%s", home, marks[i]);
        has = below_is_there(d->root, path);
        free(path);
    }
    return has;
}

/// Judged as the machine's own would be, in a report of its own: what of it is open is told in one finding.
static void judge_rootless(struct doctor *d, const struct machine_client *c, const char *home) {
    struct machine_client theirs = {.name = c->name, .major = c->major, .version = c->version};
    struct doctor apart = *d;
    apart.report = report_new();
    char *data = mem_printf("%s/.local/share/docker", home), *folder = mem_printf("%s/.config/docker", home);
    struct docker k = {.d = &apart,
                       .c = &theirs,
                       .rootless = true,
                       .file = mem_printf("%s/daemon.json", folder),
                       .certs = mem_printf("%s/certs.d", folder),
                       .data = data};
    judge_daemon(&k);
    doctor_users_own(d, name, folder, apart.report,
                     "a daemon of this user's own (rootless) reads this folder, and not /etc/docker");
    docker_deinit(&k);
    report_free(apart.report);
    free(folder);
    free(data);
}

static void judge_all_rootless(struct doctor *d, const struct machine_client *c) {
    bool found = false;
    for (size_t i = 0; i < d->machine->homes.count; i++) {
        if (!has_rootless(d, d->machine->homes.at[i]))
            continue;
        found = true;
        judge_rootless(d, c, d->machine->homes.at[i]);
    }
    if (c->rootless && !found)
        report_add(d->report, FINDING_OPEN, "user_configuration", name, NULL, "Keep users from daemons of their own.",
                   "pullgate client firewall --nft",
                   "a daemon of a user's own (rootless) runs, and nothing is known of its configuration");
    judge_closed_homes(d, name);
}

// --- further daemons ---

static void judge_other_daemon(struct doctor *d, const struct machine_client *c, pid_t pid) {
    struct machine_client theirs = {.name = c->name, .major = c->major, .version = c->version, .pid = pid};
    struct doctor apart = *d;
    apart.report = report_new();
    struct docker k = {.d = &apart,
                       .c = &theirs,
                       .other = true,
                       .taken_over = doctor_taken_over(d, "registry-1.docker.io"),
                       .file = mem_strdup(standard_file),
                       .certs = mem_strdup(certs_folder),
                       .data = standard_data};
    judge_daemon(&k);
    doctor_other_daemon(d, name, pid, apart.report);
    docker_deinit(&k);
    report_free(apart.report);
}

static void judge_builders(struct doctor *d) {
    for (size_t i = 0; i < d->machine->homes.count; i++) {
        struct names builders = {0};
        char *folder = mem_printf("%s/.docker/buildx/instances", d->machine->homes.at[i]);
        below_matching(d->root, folder, "", &builders);
        for (size_t j = 0; j < builders.count; j++)
            judge_builder(d, name, builders.at[j]);
        names_deinit(&builders);
        free(folder);
    }
}

void judge_docker(struct doctor *d, const struct machine_client *c) {
    struct docker k = {.d = d,
                       .c = c,
                       .taken_over = doctor_taken_over(d, "registry-1.docker.io"),
                       .file = mem_strdup(standard_file),
                       .certs = mem_strdup(certs_folder),
                       .data = standard_data};
    bool uses = judge_daemon(&k);
    if (k.taken_over)
        report_add(d->report, FINDING_OK, "takeover", name, "/etc/hosts", NULL, NULL,
                   "Docker Hub's own name leads to the gateway");
    for (size_t i = 0; i < c->others.count; i++)
        judge_other_daemon(d, c, c->others.at[i]);
    judge_all_rootless(d, c);
    judge_builders(d);
    doctor_settle(d, name, uses);
    docker_deinit(&k);
}
