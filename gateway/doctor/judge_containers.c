// SPDX-License-Identifier: Apache-2.0
//
// podman, buildah, skopeo and CRI-O: registries.conf with its drop-ins, and policy.json. What they close is judged by
// asking of names what would happen to them: each of the site's registries, and some that nobody serves.

#include "gateway/doctor/below.h"
#include "gateway/doctor/containers_conf.h"
#include "gateway/doctor/doctor.h"
#include "gateway/formats/conf.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char main_file[] = "/etc/containers/registries.conf", drop_ins[] = "/etc/containers/registries.conf.d",
                  policy_file[] = "/etc/containers/policy.json";

/// Registries that people use; those that the site serves are left out.
static const char *const samples[] = {
    "docker.io", "ghcr.io", "quay.io", "gcr.io", "mcr.microsoft.com", "registry.gitlab.com", "unlisted.example.net"};

struct containers {
    struct doctor *d;
    const char *client;
    struct containers_conf conf;
    struct containers_policy *policy; ///< NULL: none that can be used.
    bool unknown;                     ///< A file could not be read: what is not said may be said there.
    bool uses;
};

// --- reading ---

static void read_conf(struct containers *k, const char *path) {
    struct buf text;
    struct err err = {0};
    enum below found = below_text(k->d->root, path, &text);
    if (found == BELOW_OK && !containers_conf_add(&k->conf, path, text.data, text.len, &err))
        doctor_open(k->d, k->client, "unparsable", path, "Mend the file.", "the tools do not start with it: %s",
                    err.text);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE) {
        k->unknown = true;
        doctor_unreadable(k->d, k->client, path, below_words(found));
    }
    buf_deinit(&text);
}

static void read_all(struct containers *k) {
    struct names more = {0};
    read_conf(k, main_file);
    below_matching(k->d->root, drop_ins, ".conf", &more);
    for (size_t i = 0; i < more.count; i++)
        read_conf(k, more.at[i]);
    names_deinit(&more);
}

static void read_policy(struct containers *k) {
    struct buf text;
    struct err err = {0};
    enum below found = below_text(k->d->root, policy_file, &text);
    if (found == BELOW_OK) {
        k->policy = containers_policy_read(text.data, text.len, &err);
        if (k->policy == NULL)
            doctor_open(k->d, k->client, "unparsable", policy_file, "Mend the file.",
                        "the tools take no image with it: %s", err.text);
    } else if (found != BELOW_MISSING) {
        k->unknown = true;
        doctor_unreadable(k->d, k->client, policy_file, below_words(found));
    }
    buf_deinit(&text);
}

// --- a name ---

struct fate {
    bool gateway;      ///< It is asked of the gateway.
    bool closed;       ///< It is asked of nobody else.
    const char *other; ///< Who else is asked, where that is written; else the registry itself.
    const struct containers_registry *by;
};

static bool refused_by_policy(const struct containers *k, const char *image) {
    return k->policy != NULL && !containers_policy_accepts(k->policy, image);
}

static void ask_mirrors(const struct containers *k, struct fate *f) {
    for (size_t i = 0; i < f->by->mirror_count; i++) {
        if (site_is_gateway(k->d->site, f->by->mirrors[i].location))
            f->gateway = true;
        else {
            f->closed = false;
            f->other = f->by->mirrors[i].location;
        }
    }
}

static struct fate ask(const struct containers *k, const char *registry) {
    char *image = mem_printf("%s/library/pullgate", registry);
    struct fate f = {.closed = true, .by = containers_conf_find(&k->conf, image)};
    bool refused = refused_by_policy(k, image);
    free(image);
    if (refused || doctor_taken_over(k->d, registry)) {
        f.gateway = !refused;
        return f;
    }
    if (f.by == NULL) {
        f.closed = false;
        return f;
    }
    ask_mirrors(k, &f);
    bool there = site_is_gateway(k->d->site, f.by->location);
    f.gateway |= there;
    if (!there && !f.by->blocked) {
        f.closed = false;
        f.other = f.by->location[0] != '\0' ? f.by->location : f.other;
    }
    return f;
}

static const char *where_of(const struct fate *f) {
    return f->by != NULL ? f->by->file : main_file;
}

// --- what is asked ---

static void judge_served(struct containers *k, const char *registry) {
    struct fate f = ask(k, registry);
    k->uses |= f.gateway;
    if (f.closed || strchr(registry, '*') != NULL)
        return;
    if (f.gateway)
        doctor_open(k->d, k->client, "fallback", where_of(&f), "Have its location be at the gateway.",
                    "images of %s come from %s, in silence, whenever the gateway refuses or does not answer", registry,
                    f.other != NULL ? f.other : "the registry itself");
    else
        doctor_open(k->d, k->client, "unused", where_of(&f), "Have its location be at the gateway.",
                    "images of %s come from %s", registry, f.other != NULL ? f.other : "the registry itself");
}

static void judge_unserved(struct containers *k) {
    struct names open = {0};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        if (!site_is_served(k->d->site, samples[i]) && !site_is_wanted(k->d->site, samples[i]) &&
            !ask(k, samples[i]).closed)
            names_add(&open, samples[i]);
    if (open.count > 0) {
        char *text = names_text(&open, 4);
        doctor_open(k->d, k->client, "unlisted_registry", policy_file, "Have policy.json reject every other registry.",
                    "registries that the gateway does not serve are asked directly: %s", text);
        free(text);
    }
    names_deinit(&open);
}

/// Longer prefixes than a registry's name lead images of their own elsewhere.
static void judge_prefix(struct containers *k, const struct containers_registry *r) {
    char *host = mem_strndup(r->prefix, strcspn(r->prefix, "/"));
    char *image = mem_printf("%s/pullgate", strncmp(r->prefix, "*.", 2) == 0 ? r->prefix + 2 : r->prefix);
    bool longer = strchr(r->prefix, '/') != NULL, wanted = site_is_wanted(k->d->site, host);
    bool gateway = site_is_gateway(k->d->site, r->location) || site_is_gateway(k->d->site, host);
    if (wanted)
        report_add(k->d->report, FINDING_NOTE, "direct", k->client, r->file, NULL, NULL,
                   "%s is reached directly, as the site wants it", r->prefix);
    else if (longer && !gateway && !r->blocked && !refused_by_policy(k, image) && !doctor_taken_over(k->d, host))
        doctor_open(k->d, k->client, "other_mirror", r->file, "Take this [[registry]] out.",
                    "line %u: images below %s come from %s", r->line, r->prefix,
                    r->location[0] != '\0' ? r->location : "there");
    if (r->insecure && !wanted && gateway && !k->d->site->plain)
        doctor_open(k->d, k->client, "insecure_registry", r->file,
                    "Take \"insecure\" out, and have the gateway's CA in certs.d.",
                    "line %u: the gateway's certificate is not checked: whoever stands between can pose as it",
                    r->line);
    free(host);
    free(image);
}

static void judge_names(struct containers *k) {
    for (size_t i = 0; k->d->site != NULL && i < k->d->site->registry_count; i++)
        judge_served(k, k->d->site->registries[i].name);
    judge_unserved(k);
    for (size_t i = 0; i < k->conf.count; i++)
        judge_prefix(k, &k->conf.registries[i]);
}

// --- trust, and what users may do ---

static void judge_gateway_folder(struct containers *k) {
    if (k->d->site == NULL || k->d->site->plain)
        return;
    static const char *const parents[] = {"/etc/containers/certs.d", "/etc/docker/certs.d"};
    bool found = false;
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        char *ca = mem_printf("%s/%s/ca.crt", parents[i], k->d->site->host);
        char *certificate = mem_printf("%s/%s/client.cert", parents[i], k->d->site->host);
        char *key = mem_printf("%s/%s/client.key", parents[i], k->d->site->host);
        if (!found && below_is_there(k->d->root, ca)) {
            found = true;
            judge_ca(k->d, k->client, ca, ca);
            if (below_is_there(k->d->root, certificate))
                judge_certificate(k->d, k->client, certificate, key);
        }
        free(ca);
        free(certificate);
        free(key);
    }
    if (!found)
        judge_no_ca(k->d, k->client, parents[0]);
}

static bool says_registries(struct containers *k, const char *path) {
    struct buf text;
    struct containers_conf c;
    containers_conf_init(&c);
    enum below found = below_text(k->d->root, path, &text);
    bool says = found == BELOW_OK && (!containers_conf_add(&c, path, text.data, text.len, NULL) || c.count > 0);
    containers_conf_deinit(&c);
    buf_deinit(&text);
    return says;
}

static void tell_user(struct containers *k, const char *path, const char *what) {
    doctor_open(k->d, k->client, "user_configuration", path, "Move it aside.", "%s", what);
}

static void judge_home(struct containers *k, const char *home) {
    char *conf = mem_printf("%s/.config/containers/registries.conf", home);
    char *policy = mem_printf("%s/.config/containers/policy.json", home);
    char *folder = mem_printf("%s/.config/containers/registries.conf.d", home);
    struct names more = {0};
    if (below_is_there(k->d->root, conf))
        tell_user(k, conf, "this user's registries.conf is read in the place of all of /etc/containers");
    if (below_is_there(k->d->root, policy))
        tell_user(k, policy, "this user's policy.json is read in the place of the system's");
    below_matching(k->d->root, folder, ".conf", &more);
    for (size_t i = 0; i < more.count; i++)
        if (says_registries(k, more.at[i]))
            tell_user(k, more.at[i], "this user's file is read after the system's, and its registries win");
    names_deinit(&more);
    free(conf);
    free(policy);
    free(folder);
}

void judge_containers(struct doctor *d, const struct machine_client *c) {
    struct containers k = {.d = d, .client = c->name};
    containers_conf_init(&k.conf);
    read_all(&k);
    read_policy(&k);
    if (!k.unknown)
        judge_names(&k);
    judge_gateway_folder(&k);
    for (size_t i = 0; strcmp(c->name, "cri-o") != 0 && i < d->machine->homes.count; i++)
        judge_home(&k, d->machine->homes.at[i]);
    report_add(d->report, FINDING_NOTE, "own_options", c->name, NULL, "Egress rules stop those.",
               "pullgate client firewall --nft",
               "whoever runs it may name files of their own (CONTAINERS_REGISTRIES_CONF, --policy, --insecure-policy)");
    containers_conf_deinit(&k.conf);
    containers_policy_free(k.policy);
    doctor_settle(d, c->name, k.uses);
}
