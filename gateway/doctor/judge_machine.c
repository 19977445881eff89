// SPDX-License-Identifier: Apache-2.0
//
// All clients of a machine, and what concerns it as a whole.

#include "gateway/doctor/below.h"
#include "gateway/doctor/doctor.h"
#include "gateway/formats/conf.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char desktop_file[] = "/usr/share/docker-desktop/admin-settings.json";

// --- Docker Desktop ---

static bool is_locked_true(const struct conf *root, const char *key) {
    const struct conf *setting = conf_get(root, key), *locked = conf_get(setting, "locked");
    const struct conf *value = conf_get(setting, "value");
    return locked != NULL && locked->type == CONF_BOOL && locked->boolean && value != NULL &&
           value->type == CONF_BOOL && value->boolean;
}

static bool is_locked(const struct conf *setting) {
    const struct conf *locked = conf_get(setting, "locked");
    return locked != NULL && locked->type == CONF_BOOL && locked->boolean;
}

static void judge_desktop_settings(struct doctor *d, const char *client, const struct conf *root, bool *uses) {
    const struct conf *engine = conf_at(root, (const char *const[]){"linuxVM", "dockerDaemonOptions", NULL});
    const char *options = conf_get_string(engine, "value");
    *uses = options != NULL && d->site != NULL && strstr(options, d->site->host) != NULL;
    if (!*uses)
        doctor_open(d, client, "unused", desktop_file, "Name the gateway in linuxVM.dockerDaemonOptions.",
                    "linuxVM.dockerDaemonOptions does not name the gateway");
    else if (!is_locked(engine))
        doctor_open(d, client, "user_configuration", desktop_file, "Lock it.",
                    "linuxVM.dockerDaemonOptions is not locked: whoever uses Docker Desktop may change it");
    if (!is_locked(conf_get(root, "containersProxy")))
        doctor_open(d, client, "no_proxy", desktop_file, "Lock containersProxy at the gateway's proxy.",
                    "containersProxy is not locked: what goes past the gateway is not stopped");
    if (!is_locked_true(root, "blockDockerLoad"))
        report_add(d->report, FINDING_NOTE, "local_images", client, desktop_file, "Lock blockDockerLoad at true.",
                   fix_command(client),
                   "`docker load` brings images in that no gateway sees: blockDockerLoad is not locked");
}

void judge_desktop(struct doctor *d, const struct machine_client *c) {
    struct buf text;
    struct err err = {0};
    bool uses = false;
    enum below found = below_text(d->root, desktop_file, &text);
    struct conf_document *doc = found == BELOW_OK ? conf_parse(CONF_JSON, text.data, text.len, &err) : NULL;
    if (doc != NULL)
        judge_desktop_settings(d, c->name, conf_root(doc), &uses);
    else if (found == BELOW_OK)
        doctor_unparsable(d, c->name, desktop_file, "Docker Desktop ignores it: %s", err.text);
    else if (found == BELOW_MISSING)
        doctor_open(d, c->name, "unused", desktop_file, "Write one.",
                    "there is none: Docker Desktop is configured by whoever uses it");
    else
        doctor_unreadable(d, c->name, desktop_file, below_words(found));
    conf_free(doc);
    buf_deinit(&text);
    doctor_settle(d, c->name, uses);
}

// --- the whole ---

void judge_unbound(struct doctor *d, const struct machine_client *c) {
    report_add(d->report, FINDING_WARNING, "unbound_client", c->name, c->program,
               "Egress rules hold it: let only the gateway reach the registries.", "pullgate client firewall --nft",
               "it asks whichever registry it is told to: no configuration of the machine binds it");
    struct found_client *found = report_client(d->report, c->name, NULL);
    found->uses = TRI_UNKNOWN;
    found->leaves = TRI_YES;
}

typedef void (*judge_fn)(struct doctor *d, const struct machine_client *c);

static judge_fn judge_of(const char *name) {
    static const struct {
        const char *name;
        judge_fn judge;
    } judges[] = {
        {"docker", judge_docker},     {"containerd", judge_containerd}, {"nerdctl", judge_nerdctl},
        {"buildkit", judge_buildkit}, {"podman", judge_containers},     {"buildah", judge_containers},
        {"skopeo", judge_containers}, {"cri-o", judge_containers},      {"k3s", judge_k3s},
        {"rke2", judge_k3s},          {"desktop", judge_desktop},
    };
    for (size_t i = 0; i < sizeof judges / sizeof *judges; i++)
        if (strcmp(judges[i].name, name) == 0)
            return judges[i].judge;
    return judge_unbound;
}

static void note_local_images(struct doctor *d) {
    report_add(d->report, FINDING_NOTE, "local_images", "network", NULL,
               "Docker Desktop's blockDockerLoad ends `docker load`; elsewhere policy.json and rights to the daemon's "
               "socket are what there is.",
               NULL,
               "images that do not come from a registry (docker load and import, ctr image import, archives, an OCI "
               "layout), and those that are on the machine already, are not seen by a gateway");
}

static void note_versions(struct doctor *d, const struct machine_client *c) {
    if (d->root[0] == '\0' && c->program != NULL && c->version == NULL && strcmp(c->name, "desktop") != 0)
        report_add(d->report, FINDING_NOTE, "no_version", c->name, c->program, NULL, NULL,
                   "it does not tell its version: it is judged as any version of it would be");
}

void judge_machine(struct doctor *d) {
    report_machine(d->report, d->machine->name, d->machine->id_hash[0] != '\0' ? d->machine->id_hash : NULL);
    for (size_t i = 0; i < d->machine->count; i++) {
        const struct machine_client *c = &d->machine->clients[i];
        report_client(d->report, c->name, c->version);
        note_versions(d, c);
        judge_of(c->name)(d, c);
    }
    if (d->machine->count == 0)
        report_add(d->report, FINDING_NOTE, "no_client", "network", d->root[0] != '\0' ? d->root : NULL, NULL, NULL,
                   "no container client was found");
    else
        note_local_images(d);
    judge_hosts_file(d);
    if (d->site != NULL && d->site->certificate != NULL)
        judge_certificate(d, "gateway", d->site->certificate, d->site->key);
}
