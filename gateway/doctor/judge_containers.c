// SPDX-License-Identifier: Apache-2.0
//
// podman, buildah, skopeo and CRI-O: registries.conf with its drop-ins, and policy.json. What they close is judged by
// asking of names what would happen to them: each of the site's registries, and some that nobody serves.

#include "gateway/doctor/below.h"
#include "gateway/doctor/containers_conf.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/doctor.h"
#include "gateway/formats/conf.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char main_file[] = "/etc/containers/registries.conf", drop_ins[] = "/etc/containers/registries.conf.d",
                  policy_file[] = "/etc/containers/policy.json";

/// Registries that people use; those that the site serves are left out.
static const char *const samples[] = {"docker.io",
                                      "ghcr.io",
                                      "quay.io",
                                      "gcr.io",
                                      "registry.k8s.io",
                                      "mcr.microsoft.com",
                                      "registry.gitlab.com",
                                      "public.ecr.aws",
                                      "unlisted.example.net",
                                      "unlisted.unusual-ending"};

struct containers {
    struct doctor *d;
    const char *client;
    struct containers_conf conf;
    char *policy_file;
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
        doctor_unparsable(k->d, k->client, path, "the tools do not start with it: %s", err.text);
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
    enum below found = below_text(k->d->root, k->policy_file, &text);
    if (found == BELOW_OK) {
        k->policy = containers_policy_read(text.data, text.len, &err);
        if (k->policy == NULL)
            doctor_unparsable(k->d, k->client, k->policy_file, "the tools take no image with it: %s", err.text);
    } else if (found != BELOW_MISSING) {
        k->unknown = true;
        doctor_unreadable(k->d, k->client, k->policy_file, below_words(found));
    }
    buf_deinit(&text);
}

// --- CRI-O's own settings ---

static void take_policy(struct containers *k, const char *path) {
    if (path == NULL || path[0] == '\0')
        return;
    free(k->policy_file);
    k->policy_file = mem_strdup(path);
}

static void tell_insecure(struct containers *k, const char *where, const char *entry) {
    if (site_is_gateway(k->d->site, entry) || strchr(entry, '/') != NULL)
        doctor_open(k->d, k->client, "insecure_registry", where, "Take it out of insecure_registries.",
                    "insecure_registries: %s: whoever stands between can pose as the gateway", entry);
}

static void read_crio(struct containers *k, const char *path) {
    struct buf text;
    struct err err = {0};
    enum below found = below_text(k->d->root, path, &text);
    struct conf_document *doc = found == BELOW_OK ? conf_parse(CONF_TOML, text.data, text.len, &err) : NULL;
    if (found == BELOW_OK && doc == NULL)
        doctor_unparsable(k->d, k->client, path, "CRI-O does not start with it: %s", err.text);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE)
        doctor_unreadable(k->d, k->client, path, below_words(found));
    const struct conf *image =
        doc != NULL ? conf_at(conf_root(doc), (const char *const[]){"crio", "image", NULL}) : NULL;
    const struct conf *insecure = conf_get(image, "insecure_registries");
    take_policy(k, conf_get_string(image, "signature_policy"));
    for (const struct conf *at = insecure != NULL && insecure->type == CONF_LIST ? insecure->child : NULL; at != NULL;
         at = at->next)
        if (at->type == CONF_STRING)
            tell_insecure(k, path, at->string);
    conf_free(doc);
    buf_deinit(&text);
}

static void read_crio_settings(struct containers *k, const struct machine_client *c) {
    struct names more = {0}, words = {0};
    read_crio(k, "/etc/crio/crio.conf");
    below_matching(k->d->root, "/etc/crio/crio.conf.d", "", &more);
    for (size_t i = 0; i < more.count; i++)
        read_crio(k, more.at[i]);
    daemon_words(k->d, c, "crio.service", &words);
    take_policy(k, option_last(&words, "--signature-policy"));
    for (size_t i = 1; i < words.count; i++)
        if (option_value(&words, i, "--insecure-registry") != NULL)
            tell_insecure(k, "crio.service", option_value(&words, i, "--insecure-registry"));
    names_deinit(&more);
    names_deinit(&words);
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

/// Of an image of this registry.
static struct fate ask_image(const struct containers *k, const char *registry, const char *image) {
    struct fate f = {.closed = true, .by = containers_conf_find(&k->conf, image)};
    bool refused = refused_by_policy(k, image);
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

static struct fate ask(const struct containers *k, const char *registry) {
    char *image = mem_printf("%s/library/pullgate", registry);
    struct fate f = ask_image(k, registry, image);
    free(image);
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

/// By its own name, not as one of those that a wildcard of the site means.
static bool is_listed(const struct client_site *site, const char *registry) {
    for (size_t i = 0; site != NULL && i < site->registry_count; i++)
        if (strcmp(site->registries[i].name, registry) == 0)
            return true;
    return false;
}

/// Scopes of policy.json that let images of a registry through, such as a distribution's own.
static void add_accepted(struct containers *k, struct names *open) {
    struct names scopes = {0};
    if (k->policy != NULL)
        containers_policy_scopes(k->policy, &scopes);
    for (size_t i = 0; i < scopes.count; i++) {
        const char *scope = scopes.at[i];
        char *image = strncmp(scope, "*.", 2) == 0 ? mem_printf("pullgate.%s/pullgate", scope + 2)
                                                   : mem_printf("%s/pullgate", scope);
        char *host = mem_strndup(image, strcspn(image, "/"));
        if (!is_listed(k->d->site, host) && !site_is_gateway(k->d->site, host) && !site_is_wanted(k->d->site, host) &&
            !ask_image(k, host, image).closed)
            names_add_once(open, scope);
        free(image);
        free(host);
    }
    names_deinit(&scopes);
}

static void judge_unserved(struct containers *k) {
    struct names open = {0};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        if (!is_listed(k->d->site, samples[i]) && !site_is_wanted(k->d->site, samples[i]) && !ask(k, samples[i]).closed)
            names_add(&open, samples[i]);
    add_accepted(k, &open);
    if (open.count > 0) {
        char *text = names_text(&open, 4);
        doctor_open(k->d, k->client, "unlisted_registry", k->policy_file, "Have it reject every other registry.",
                    "registries that are not led to the gateway by name are asked directly: %s", text);
        free(text);
    }
    names_deinit(&open);
}

static void judge_insecure(struct containers *k, const struct containers_registry *r, const char *host) {
    bool insecure = r->insecure && (site_is_gateway(k->d->site, r->location) || site_is_gateway(k->d->site, host));
    for (size_t i = 0; i < r->mirror_count; i++)
        insecure |= r->mirrors[i].insecure && site_is_gateway(k->d->site, r->mirrors[i].location);
    if (insecure && !site_is_wanted(k->d->site, host) && !k->d->site->plain)
        doctor_open(k->d, k->client, "insecure_registry", r->file,
                    "Take \"insecure\" out, and have the gateway's CA in certs.d.",
                    "line %u: the gateway's certificate is not checked: whoever stands between can pose as it",
                    r->line);
}

/// Longer prefixes than a registry's name lead images of their own elsewhere.
static void judge_prefix(struct containers *k, const struct containers_registry *r) {
    char *host = mem_strndup(r->prefix, strcspn(r->prefix, "/"));
    char *image = mem_printf("%s/pullgate", strncmp(r->prefix, "*.", 2) == 0 ? r->prefix + 2 : r->prefix);
    bool longer = strchr(r->prefix, '/') != NULL;
    struct fate f = longer ? ask_image(k, host, image) : (struct fate){.closed = true};
    if (site_is_wanted(k->d->site, host))
        report_add(k->d->report, FINDING_NOTE, "direct", k->client, r->file, NULL, NULL,
                   "%s is reached directly, as the site wants it", r->prefix);
    else if (!f.closed && !site_is_gateway(k->d->site, host))
        doctor_open(k->d, k->client, "other_mirror", r->file, "Take this [[registry]] out.",
                    "line %u: images below %s come from %s", r->line, r->prefix, f.other != NULL ? f.other : "there");
    judge_insecure(k, r, host);
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

/// A variable that names another file in the place of registries.conf and its drop-ins, for everybody.
static void judge_environment(struct containers *k) {
    static const char *const names[] = {"CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH"};
    static const char file[] = "/etc/environment";
    struct daemon_env env = {0};
    struct buf text;
    if (below_text(k->d->root, file, &text) == BELOW_OK)
        daemon_env_file(text.data, text.len, file, &env);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *own = k->d->root[0] == '\0' ? getenv(names[i]) : NULL;
        const char *value = own != NULL ? own : daemon_env_value(&env, names[i]);
        if (value != NULL && value[0] != '\0')
            doctor_open(k->d, k->client, "user_configuration", own != NULL ? NULL : file, "Take it out.",
                        "%s names %s, which is read in the place of "
                        "/etc/containers/registries.conf",
                        names[i], value);
    }
    daemon_env_deinit(&env);
    buf_deinit(&text);
}

void judge_containers(struct doctor *d, const struct machine_client *c) {
    struct containers k = {.d = d, .client = c->name, .policy_file = mem_strdup(policy_file)};
    bool crio = strcmp(c->name, "cri-o") == 0;
    containers_conf_init(&k.conf);
    if (crio)
        read_crio_settings(&k, c);
    else
        judge_environment(&k);
    read_all(&k);
    read_policy(&k);
    if (!k.unknown)
        judge_names(&k);
    judge_gateway_folder(&k);
    for (size_t i = 0; !crio && i < d->machine->homes.count; i++)
        judge_home(&k, d->machine->homes.at[i]);
    if (!crio)
        judge_closed_homes(d, c->name);
    report_add(d->report, FINDING_NOTE, "own_options", c->name, NULL, "Egress rules stop those.",
               "pullgate client firewall --nft",
               "whoever runs it may name files of their own (CONTAINERS_REGISTRIES_CONF, --policy, --insecure-policy)");
    containers_conf_deinit(&k.conf);
    containers_policy_free(k.policy);
    free(k.policy_file);
    doctor_settle(d, c->name, k.uses);
}
