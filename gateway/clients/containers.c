// SPDX-License-Identifier: Apache-2.0
//
// podman, buildah, skopeo and CRI-O: everything that reads its registries with the containers/image library.
//
// Three files close it together, since no one of them can:
//  - registries.conf.d/zz-pullgate.conf gives each registry of the gateway a `location` there. A location that is not
//    the registry's own is the only place that a pull asks. `blocked` beside it does not stop the pull (it is looked up
//    for the name that is asked in the end, the gateway's), but everything that does not follow a location: push,
//    login, search, list-tags, delete.
//  - zz-pullgate-rest.conf sends the names under all usual top-level domains to a name that the gateway denies, so that
//    its words are what a person reads. There is no prefix for "everything", and a wildcard loses the host's name.
//  - policy.json refuses images of every other name. It is asked about the name that the user wrote.
// Files are merged by prefix, the last one winning, so that what other files say of a prefix is said again here.

#include "gateway/clients/clients.h"
#include "gateway/clients/common.h"
#include "gateway/clients/endings.h"
#include "gateway/clients/look.h"
#include "gateway/policy/canary.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define CONTAINERS_DIR "/etc/containers"
#define DROP_IN_DIR CONTAINERS_DIR "/registries.conf.d"
#define USER_DIR "/.config/containers"
#define DROP_IN DROP_IN_DIR "/zz-pullgate.conf"
#define DROP_IN_REST DROP_IN_DIR "/zz-pullgate-rest.conf"
#define MAIN_FILE CONTAINERS_DIR "/registries.conf"
#define POLICY CONTAINERS_DIR "/policy.json"

static const char accept_anything[] = "[{\"type\": \"insecureAcceptAnything\"}]";
static const char reject[] = "[{\"type\": \"reject\"}]";

struct containers {
    const struct client_site *site;
    const struct client_options *options;
    struct client_plan *plan;
    struct buf text; ///< zz-pullgate.conf as it grows.
    const char **said;
    size_t said_count; ///< Prefixes in it.
};

// --- what a registry's name allows ---

/// A location with a colon inside of its path is no image name.
static bool has_port(const char *name) {
    return strchr(name, ':') != NULL;
}

/// The only wildcard that the library knows stands for the first labels. Another one would make the file unusable.
static bool known_form(const char *name) {
    return !is_wildcard(name) || (strncmp(name, "*.", 2) == 0 && !is_wildcard(name + 2));
}

static bool remappable(const char *name) {
    return !is_wildcard(name) && !has_port(name);
}

/// Is `prefix` the name itself, or something below it?
static bool covers(const char *name, const char *prefix) {
    size_t n = strlen(name);
    return strncmp(prefix, name, n) == 0 && (prefix[n] == '\0' || strchr("/:@", prefix[n]) != NULL);
}

static bool wildcard_covers(const char *pattern, const char *prefix) {
    if (strncmp(pattern, "*.", 2) != 0)
        return covers(pattern, prefix);
    size_t host = strcspn(prefix, "/:@"), tail = strlen(pattern) - 1;
    return host >= tail && strncmp(prefix + host - tail, pattern + 1, tail) == 0;
}

static const char *registry_of(const struct client_site *site, const char *prefix) {
    for (size_t i = 0; i < site->registry_count; i++)
        if (remappable(site->registries[i].name) && covers(site->registries[i].name, prefix))
            return site->registries[i].name;
    return NULL;
}

/// Names that clients are meant to ask themselves.
static bool meant(const struct client_site *site, const char *prefix) {
    if (covers(site->host, prefix))
        return true;
    for (size_t i = 0; i < site->direct_count; i++)
        if (covers(site->direct[i], prefix))
            return true;
    return false;
}

// --- registries.conf ---

static void say(struct containers *c, const char *why, const char *prefix, const char *location, const char *below,
                bool blocked) {
    buf_addf(&c->text, "\n# %s\n[[registry]]\nprefix = ", why);
    buf_add_json(&c->text, prefix, strlen(prefix));
    if (location != NULL) {
        char *at = mem_printf("%s%s", location, below);
        buf_adds(&c->text, "\nlocation = ");
        buf_add_json(&c->text, at, strlen(at));
        free(at);
    }
    if (blocked)
        buf_adds(&c->text, "\nblocked = true");
    if (c->site->plain && location != NULL && covers(c->site->host, location))
        buf_adds(&c->text, "\ninsecure = true");
    buf_adds(&c->text, "\n");
    c->said = mem_resize(c->said, c->said_count + 1, sizeof *c->said);
    c->said[c->said_count++] = mem_strdup(prefix);
}

static bool said(const struct containers *c, const char *prefix) {
    for (size_t i = 0; i < c->said_count; i++)
        if (strcmp(c->said[i], prefix) == 0)
            return true;
    return false;
}

static bool is_ending(const char *s, size_t len) {
    for (const char *at = endings; *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (n == len && strncmp(at, s, n) == 0)
            return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

/// What registries.conf has no words for.
static void tell_not_sent(struct containers *c, const char *name) {
    const char *host = c->site->host;
    if (strcmp(name, "*") == 0)
        plan_note(
            c->plan,
            "The gateway serves every registry (\"*\"), but this client has to be told of each by name. It was told "
            "of those that the gateway itself knows by name; images of all others are refused: list their registry "
            "in the gateway's configuration and write this again, or write the image as %s/REGISTRY/….",
            host);
    else if (is_wildcard(name))
        plan_note(
            c->plan,
            "The gateway serves the registries %s, but this client has to be told of each by name: their images are "
            "refused. List them by name in the gateway's configuration and write this again, or write their images "
            "as %s/REGISTRY/….",
            name, host);
    else
        plan_note(
            c->plan,
            "Images of %s are refused: for this client no port can stand inside of an image's name, as it would in "
            "%s/%s/…. Give the registry a name without a port in the gateway's configuration, and write its images "
            "with that.",
            name, host, name);
}

static void say_registry(struct containers *c, const char *name) {
    if (c->site->takeover && known_form(name)) {
        say(c, "The gateway answers under this registry's own name.", name, is_wildcard(name) ? NULL : name, "", false);
        return;
    }
    if (!remappable(name)) {
        tell_not_sent(c, name);
        return;
    }
    char *location = mem_printf("%s/%s", c->site->host, name);
    say(c, "Pulls are asked of the gateway alone; blocked: whatever would not go there (push, login, search, tags).",
        name, location, "", true);
    free(location);
}

static void say_sites_own(struct containers *c) {
    buf_addf(&c->text,
             "# Written by pullgate: images come from %s and from nowhere else. Later files win over earlier ones,\n"
             "# prefix by prefix; the rest is in zz-pullgate-rest.conf and in ../policy.json.\n",
             c->site->host);
    say(c, "The gateway itself.", c->site->host, c->site->host, "", false);
    for (size_t i = 0; i < c->site->registry_count; i++)
        say_registry(c, c->site->registries[i].name);
    for (size_t i = 0; i < c->site->direct_count; i++)
        if (!said(c, c->site->direct[i]))
            say(c, "Reached directly, as the site wants it.", c->site->direct[i], c->site->direct[i], "", false);
}

/// Another file's prefix, said again so that ours wins.
static void say_again(struct containers *c, const char *file, const char *prefix) {
    bool usual = strncmp(prefix, "*.", 2) == 0 && is_ending(prefix + 2, strlen(prefix + 2));
    if (said(c, prefix) || usual || meant(c->site, prefix))
        return;
    const char *registry = registry_of(c->site, prefix);
    char *why = mem_printf("%s says otherwise.", file);
    char *location = mem_printf("%s/%s", c->site->host, registry != NULL ? registry : UNLISTED_REGISTRY);
    size_t host = registry != NULL ? strlen(registry) : strcspn(prefix, "/");
    if (registry != NULL && c->site->takeover)
        say(c, why, prefix, prefix, "", false);
    else
        say(c, why, prefix, location, is_wildcard(prefix) ? "" : prefix + host, true);
    free(location);
    free(why);
}

static const char *prefix_of(const struct conf *registry) {
    const char *prefix = conf_get_string(registry, "prefix");
    return prefix != NULL && prefix[0] != '\0' ? prefix : conf_get_string(registry, "location");
}

static void say_file_again(struct containers *c, const char *path) {
    struct conf_document *d = look_conf(c->options->root, path, CONF_TOML);
    const struct conf *list = d ? conf_get(conf_root(d), "registry") : NULL;
    for (const struct conf *r = list ? list->child : NULL; r != NULL; r = r->next)
        if (prefix_of(r) != NULL)
            say_again(c, path, prefix_of(r));
    conf_free(d);
}

static bool has_registries(const char *root, const char *path) {
    struct conf_document *d = look_conf(root, path, CONF_TOML);
    bool has = d && conf_get(conf_root(d), "registry") != NULL;
    conf_free(d);
    return has;
}

static bool is_ours(const char *path) {
    return strcmp(path, DROP_IN) == 0 || strcmp(path, DROP_IN_REST) == 0;
}

static void look_at_system(struct containers *c) {
    struct look_names files;
    look_names(c->options->root, DROP_IN_DIR, ".conf", &files);
    say_file_again(c, MAIN_FILE);
    for (size_t i = 0; i < files.count; i++) {
        const char *path = files.paths[i];
        if (is_ours(path))
            continue;
        if (strcmp(path, DROP_IN) < 0)
            say_file_again(c, path);
        else if (has_registries(c->options->root, path))
            plan_aside(c->plan, path, "It is read after zz-pullgate.conf, so that its registries win.", NULL);
    }
    look_names_free(&files);
}

/// A wildcard for every usual ending.
static void write_rest(struct containers *c) {
    struct buf b;
    buf_init(&b, CONF_TEXT_MAX);
    buf_addf(&b,
             "# Written by pullgate. Registries that are not listed anywhere are asked of the gateway, under a name "
             "that it\n# denies, so that its words are read; blocked: whatever would not go there. A longer prefix "
             "wins over these.\nregistry = [\n");
    for (const char *at = endings; *at != '\0';) {
        size_t n = strcspn(at, " ");
        buf_addf(&b, "    { prefix = \"*.%.*s\", location = \"%s/" UNLISTED_REGISTRY "\", blocked = true%s },\n",
                 (int)n, at, c->site->host, c->site->plain ? ", insecure = true" : "");
        at += n + (at[n] == ' ');
    }
    buf_adds(&b, "]\n");
    plan_text(c->plan, DROP_IN_REST, 0644, b.data);
    buf_deinit(&b);
}

static void plan_registries(struct containers *c) {
    buf_init(&c->text, CONF_TEXT_MAX);
    say_sites_own(c);
    if (c->options->look)
        look_at_system(c);
    plan_text(c->plan, DROP_IN, 0644, c->text.data);
    write_rest(c);
    buf_deinit(&c->text);
    for (size_t i = 0; i < c->said_count; i++)
        free((char *)c->said[i]);
    free(c->said);
}

// --- policy.json ---

static bool wanted_scope(const struct client_site *site, const char *scope) {
    for (size_t i = 0; i < site->registry_count; i++)
        if (wildcard_covers(site->registries[i].name, scope))
            return true;
    return meant(site, scope);
}

/// Requirements that a scope has already (signatures, say) are the site's own, and stay.
static void accept_scope(struct plan_file *f, const struct conf *docker, const char *scope) {
    const char *const path[] = {"transports", "docker", scope, NULL};
    if (known_form(scope) && conf_get(docker, scope) == NULL)
        plan_set(f, "Images of this name may be had (the name is the one that was asked for).", accept_anything, path);
}

static void drop_foreign_scopes(struct containers *c, struct plan_file *f, const struct conf *docker) {
    for (const struct conf *s = docker ? docker->child : NULL; s != NULL; s = s->next) {
        const char *const path[] = {"transports", "docker", s->key, NULL};
        if (s->key != NULL && s->key[0] != '\0' && !wanted_scope(c->site, s->key))
            plan_unset(f, "It admits images of a name that the gateway does not serve.", true, path);
    }
}

static void plan_policy(struct containers *c) {
    static const char *const standard[] = {"default", NULL};
    static const char *const every_docker[] = {"transports", "docker", "", NULL};
    static const char *const every_atomic[] = {"transports", "atomic", "", NULL};
    static const char *const docker_path[] = {"transports", "docker", NULL};
    struct conf_document *d = c->options->look ? look_conf(c->options->root, POLICY, CONF_JSON) : NULL;
    const struct conf *root = d ? conf_root(d) : NULL, *docker = d ? conf_at(root, docker_path) : NULL;
    struct plan_file *f = plan_file(c->plan, POLICY, CONF_JSON);
    if (conf_get(root, "default") == NULL)
        plan_set(f, "What does not come from a registry (archives, folders, the local storage) stays as it is.",
                 accept_anything, standard);
    plan_set(f, "Images of every other registry are refused.", reject, every_docker);
    plan_set(f, "The same for OpenShift's own way to a registry.", reject, every_atomic);
    accept_scope(f, docker, c->site->host);
    for (size_t i = 0; i < c->site->registry_count; i++)
        if (c->site->takeover || remappable(c->site->registries[i].name))
            accept_scope(f, docker, c->site->registries[i].name);
    for (size_t i = 0; i < c->site->direct_count; i++)
        accept_scope(f, docker, c->site->direct[i]);
    drop_foreign_scopes(c, f, docker);
    conf_free(d);
}

// --- trust ---

static void trust_host(struct containers *c, const char *host) {
    const char *const from[] = {c->site->ca, c->site->certificate, c->site->key};
    static const char *const names[] = {"ca.crt", "client.cert", "client.key"};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        if (from[i] != NULL) {
            char *path = mem_printf(CONTAINERS_DIR "/certs.d/%s/%s", host, names[i]);
            plan_link(c->plan, path, from[i]);
            free(path);
        }
}

static void plan_trust(struct containers *c) {
    if (!c->site->plain)
        trust_host(c, c->site->host);
    for (size_t i = 0; c->site->takeover && i < c->site->registry_count; i++)
        if (!is_wildcard(c->site->registries[i].name))
            trust_host(c, c->site->registries[i].name);
    if (c->site->key != NULL)
        plan_note(c->plan, "%s must be readable by whoever pulls: rootless podman runs as its user.", c->site->key);
    if (c->site->header_count > 0)
        plan_note(c->plan, "The site's headers cannot be sent: containers/image has no setting for them.");
}

// --- users ---

static void look_at_home(struct containers *c, const char *home) {
    char *own = mem_printf("%s" USER_DIR "/registries.conf", home);
    char *policy = mem_printf("%s" USER_DIR "/policy.json", home);
    char *drop_ins = mem_printf("%s" USER_DIR "/registries.conf.d", home);
    struct look_names files;
    if (look_exists(c->options->root, own))
        plan_aside_of_user(c->plan, home, own + strlen(home),
                           "This user's file is read in place of all of " CONTAINERS_DIR ".");
    if (look_exists(c->options->root, policy))
        plan_aside_of_user(c->plan, home, policy + strlen(home), "This user's policy is read in place of " POLICY ".");
    look_names(c->options->root, drop_ins, ".conf", &files);
    for (size_t i = 0; i < files.count; i++)
        if (has_registries(c->options->root, files.paths[i]))
            plan_aside_of_user(c->plan, home, files.paths[i] + strlen(home),
                               "It is read after zz-pullgate.conf, so that its registries win.");
    look_names_free(&files);
    free(drop_ins);
    free(policy);
    free(own);
}

static void look_at_homes(struct containers *c) {
    struct look_names homes;
    if (!c->options->look)
        return;
    look_at_home(c, "/root");
    look_names(c->options->root, "/home", "", &homes);
    for (size_t i = 0; i < homes.count; i++)
        look_at_home(c, homes.paths[i]);
    look_names_free(&homes);
}

// --- what stays open ---

static void tell_open(struct client_plan *plan) {
    plan_open(plan,
              "A user who writes a configuration of their own (~/.config/containers/registries.conf and policy.json, "
              "CONTAINERS_REGISTRIES_CONF, --registries-conf, --policy, --insecure-policy) asks whom they like; "
              "`pullgate client firewall` closes that.");
    plan_open(plan,
              "Names under rare top-level domains, addresses and localhost: pulls are refused by policy.json, but "
              "inspect, push, login and list-tags reach them; `pullgate client firewall` closes ports 443, 80, 5000.");
    plan_open(plan, "What does not come from a registry: podman load and import, docker-archive:, oci:, dir:, "
                    "docker-daemon:. In policy.json these transports can be rejected too.");
    plan_open(plan, "An image that is on the machine already is run without asking anybody.");
}

static void tell_builds(struct client_plan *plan) {
    plan_open(plan, "ADD https://… and RUN curl in a build reach what the network lets them reach; `pullgate client "
                    "firewall` closes that.");
}

static void plan_common(const struct client_site *site, const struct client_options *options,
                        struct client_plan *plan) {
    struct containers c = {.site = site, .options = options, .plan = plan};
    plan_registries(&c);
    plan_policy(&c);
    plan_trust(&c);
    look_at_homes(&c);
    if (site->host[0] == '[')
        plan_note(plan,
                  "%s: this library takes no IPv6 address in an image's name. Every pull fails until clients are "
                  "given a name of the gateway's.",
                  site->host);
    tell_open(plan);
}

bool plan_podman(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                 struct err *err) {
    plan_common(site, options, plan);
    tell_builds(plan);
    plan_note(plan, "podman reads these files at each command; only `podman system service` is to be restarted. On "
                    "macOS and Windows they belong into the machine (`podman machine ssh`).");
    return true;
}

bool plan_buildah(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                  struct err *err) {
    plan_common(site, options, plan);
    tell_builds(plan);
    return true;
}

bool plan_skopeo(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                 struct err *err) {
    plan_common(site, options, plan);
    return true;
}

// --- CRI-O ---

#define CRIO_DIR "/etc/crio/crio.conf.d"
#define CRIO_DROP_IN CRIO_DIR "/zz-pullgate.conf"

/// CRI-O reads every file of the folder, whatever its name ends in: a backup beside it would be read too, so that
/// others' files are not edited but overruled.
static const char crio_drop_in[] =
    "# Written by pullgate. Read last: what other files say of these two does not count.\n"
    "[crio.image]\n"
    "# The policy that admits images of the gateway's registries alone.\n"
    "signature_policy = \"" POLICY "\"\n"
    "# Everybody's certificate is looked at.\n"
    "insecure_registries = []\n";

static void look_at_crio(struct containers *c) {
    static const char *const image[] = {"crio", "image", NULL};
    struct look_names files;
    look_names(c->options->root, CRIO_DIR, "", &files);
    for (size_t i = 0; i < files.count; i++) {
        struct conf_document *d =
            strcmp(files.paths[i], CRIO_DROP_IN) > 0 ? look_conf(c->options->root, files.paths[i], CONF_TOML) : NULL;
        const struct conf *at = d ? conf_at(conf_root(d), image) : NULL;
        if (conf_get(at, "signature_policy") != NULL || conf_get(at, "insecure_registries") != NULL)
            plan_aside(c->plan, files.paths[i], "It is read after zz-pullgate.conf and overrules it.", CRIO_DIR);
        conf_free(d);
    }
    look_names_free(&files);
    look_names(c->options->root, "/etc/crio/policies", ".json", &files);
    for (size_t i = 0; i < files.count; i++)
        plan_aside(c->plan, files.paths[i], "CRI-O reads it in place of " POLICY " for the namespace of its name.",
                   NULL);
    look_names_free(&files);
}

bool plan_cri_o(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                struct err *err) {
    struct containers c = {.site = site, .options = options, .plan = plan};
    plan_common(site, options, plan);
    plan_text_alone(plan, CRIO_DROP_IN, 0644, crio_drop_in, CRIO_DIR);
    if (options->look)
        look_at_crio(&c);
    plan_run(plan, "systemctl restart crio");
    plan_note(plan, "The pause image is pulled like any other (crio.image.pause_image): its registry must be one that "
                    "the gateway serves.");
    plan_note(plan, "Generated, not run: CRI-O shares the library with podman, with which this was tried.");
    return true;
}
