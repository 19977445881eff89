// SPDX-License-Identifier: Apache-2.0
//
// Judging a folder of host directories, as dockerd, containerd and nerdctl read it.

#include "gateway/doctor/below.h"
#include "gateway/doctor/doctor.h"
#include "gateway/doctor/hosts_dir.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct judging {
    struct doctor *d;
    const char *client;
    enum hosts_reader reader;
    bool held;
    const char *path; ///< Of the hosts.toml.
};

// --- one host in a file ---

static void judge_trust(struct judging *j, const struct hosts_entry *e) {
    for (size_t i = 0; i < e->ca.count; i++)
        judge_ca(j->d, j->client, e->ca.at[i], j->path);
    if (e->ca.count == 0 && !e->plain)
        judge_no_ca(j->d, j->client, j->path);
    for (size_t i = 0; i + 1 < e->keys.count; i += 2)
        judge_certificate(j->d, j->client, e->keys.at[i], e->keys.at[i + 1]);
    if (e->skip_verify)
        doctor_open(j->d, j->client, "insecure_registry", j->path, "Take skip_verify out, and name the gateway's CA.",
                    "skip_verify: whoever stands between can pose as the gateway");
}

static void judge_gateway_entry(struct judging *j, const struct hosts_entry *e) {
    if ((e->capabilities & (HOSTS_PULL | HOSTS_RESOLVE)) != (HOSTS_PULL | HOSTS_RESOLVE))
        report_add(j->d->report, FINDING_WARNING, "missing_capability", j->client, j->path,
                   "Have capabilities be [\"pull\", \"resolve\"].", fix_command(j->client),
                   "the gateway is not asked for %s: pulls fail",
                   (e->capabilities & HOSTS_PULL) == 0 ? "content (no \"pull\")" : "tags (no \"resolve\")");
    judge_trust(j, e);
}

/// A host that is asked for content or tags at all.
static bool is_asked(const struct hosts_entry *e) {
    return (e->capabilities & (HOSTS_PULL | HOSTS_RESOLVE)) != 0;
}

static void judge_entries(struct judging *j, const struct hosts_file *f, struct hosts_judgement *out) {
    size_t at_gateway = 0;
    out->closed = true;
    for (size_t i = 0; i < f->count; i++) {
        const struct hosts_entry *e = &f->entries[i];
        char *url = e->itself ? NULL : mem_printf("%s://%s", e->plain ? "http" : "https", e->host);
        if (url != NULL && site_is_gateway(j->d->site, url)) {
            at_gateway++;
            out->gateway = true;
            judge_gateway_entry(j, e);
        } else if (is_asked(e)) {
            out->closed = false;
            if (url != NULL)
                doctor_leaves(j->d, j->held, j->client, "other_mirror", j->path, "Have it name the gateway alone.",
                              "%s is asked too%s", e->host,
                              j->d->site == NULL ? " (which host the gateway is, is not known)" : "");
        }
        free(url);
    }
    if (at_gateway > 1)
        report_add(
            j->d->report, FINDING_WARNING, "several_hosts", j->client, j->path,
            "Name the gateway as `server` alone, with an empty [host].", fix_command(j->client),
            "the gateway is named %zu times: what it refuses is asked again, with other certificates and headers",
            at_gateway);
}

// --- a file ---

static const char *problem_code(enum hosts_problem problem) {
    switch (problem) {
    case HOSTS_WRONG_TYPE:
        return "wrong_type";
    case HOSTS_UNKNOWN_CAPABILITY:
        return "unknown_capability";
    default:
        return "unparsable";
    }
}

static const char *reader_words(enum hosts_reader reader) {
    return reader == HOSTS_CONTAINERD_1 ? "containerd 1.x" : "it";
}

static void judge_reading(struct judging *j, const struct hosts_file *f) {
    if (f->problem != HOSTS_FINE)
        doctor_leaves(j->d, j->held, j->client, problem_code(f->problem), j->path, "Mend the file.",
                      "%s logs an error, ignores the file and asks the registries themselves: %s",
                      reader_words(j->reader), f->why.text);
    for (size_t i = 0; i < f->unknown.count; i++)
        report_add(j->d->report, FINDING_WARNING, "unknown_key", j->client, j->path, "Take it out, or spell it right.",
                   NULL, "%s means nothing here and is ignored", f->unknown.at[i]);
    for (size_t i = 0; i < f->unseen.count; i++)
        report_add(j->d->report, FINDING_WARNING, "unknown_key", j->client, j->path,
                   "Give it a header of its own: [host.\"…\"].", NULL,
                   "containerd 2 does not see the host %s: it is no table with a header", f->unseen.at[i]);
}

static void judge_default_file(struct judging *j, const struct hosts_file *f, struct hosts_judgement *out) {
    judge_reading(j, f);
    if (f->problem != HOSTS_FINE)
        return;
    judge_entries(j, f, out);
    if (!f->has_server)
        doctor_leaves(j->d, j->held, j->client, "host_without_server", j->path,
                      "Name the gateway as `server`: then it is the only one that is asked.",
                      "there is no `server`: after the hosts that it names, the registry itself is asked, in silence");
}

/// BELOW_OK: `out` is to be freed with hosts_deinit().
static enum below read_hosts(struct judging *j, const char *folder, struct hosts_file *out) {
    struct buf text;
    enum below found = below_text(j->d->root, j->path, &text);
    if (found == BELOW_OK)
        hosts_read(j->reader, text.data, text.len, folder, out);
    buf_deinit(&text);
    return found;
}

static void judge_default(struct judging *j, const char *folder, struct hosts_judgement *out) {
    struct hosts_file file;
    switch (read_hosts(j, folder, &file)) {
    case BELOW_OK:
        out->found = true;
        judge_default_file(j, &file, out);
        hosts_deinit(&file);
        break;
    case BELOW_MISSING:
        break;
    default:
        out->found = true;
        doctor_unreadable(j->d, j->client, j->path,
                          "it may not be read, so that it cannot be told where images come from");
    }
}

// --- other directories ---

/// Everything that this file lets be asked is the gateway.
static bool all_gateway(const struct judging *j, const struct hosts_file *f) {
    for (size_t i = 0; i < f->count; i++) {
        const struct hosts_entry *e = &f->entries[i];
        char *url = e->itself ? mem_strdup("") : mem_printf("%s://%s", e->plain ? "http" : "https", e->host);
        bool gateway = site_is_gateway(j->d->site, url);
        free(url);
        if (!gateway && is_asked(e))
            return false;
    }
    return true;
}

static const char *why_direct(enum below found, const struct hosts_file *f) {
    if (found == BELOW_MISSING)
        return "it has no hosts.toml";
    if (f->problem == HOSTS_EMPTY)
        return "its hosts.toml is empty";
    return f->problem != HOSTS_FINE ? f->why.text : "its hosts.toml names others than the gateway";
}

static void judge_other(struct judging *j, const char *folder, const char *registry) {
    struct hosts_file file = {0};
    enum below found = read_hosts(j, folder, &file);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE)
        doctor_unreadable(j->d, j->client, j->path, "this directory wins over _default, and its file may not be read");
    else if (found == BELOW_MISSING || !all_gateway(j, &file))
        doctor_leaves(j->d, j->held, j->client, "host_directory", folder,
                      "Move it aside, or name its registry in \"clients\": {\"direct\": [...]} if it is meant so.",
                      "this directory wins over _default: images of %s come past the gateway (%s)", registry,
                      why_direct(found, &file));
    if (found == BELOW_OK)
        hosts_deinit(&file);
}

static void judge_directory(struct judging *j, const char *parent, const char *name) {
    char *folder = mem_printf("%s/%s", parent, name), *path = mem_printf("%s/hosts.toml", folder);
    char *registry = hosts_dir_registry(name);
    j->path = path;
    if (!below_is_folder(j->d->root, folder) || hosts_dir_is_aside(name) || site_is_gateway(j->d->site, registry) ||
        doctor_taken_over(j->d, registry))
        ;
    else if (site_is_wanted(j->d->site, registry))
        report_add(j->d->report, FINDING_NOTE, "direct", j->client, folder, NULL, NULL,
                   "%s is reached directly, as the site wants it", registry);
    else
        judge_other(j, folder, registry);
    j->path = NULL;
    free(folder);
    free(path);
    free(registry);
}

void judge_hosts(struct doctor *d, const char *client, const char *folder, enum hosts_reader reader, bool held,
                 struct hosts_judgement *out) {
    *out = (struct hosts_judgement){0};
    struct judging j = {.d = d, .client = client, .reader = reader, .held = held};
    struct names all = {0};
    enum below found = below_folder(d->root, folder, &all);
    if (found == BELOW_FORBIDDEN)
        doctor_unreadable(d, client, folder, "the folder may not be read");
    char *standard = mem_printf("%s/_default", folder), *path = mem_printf("%s/hosts.toml", standard);
    j.path = path;
    out->standard = below_is_there(d->root, standard);
    judge_default(&j, standard, out);
    for (size_t i = 0; i < all.count; i++)
        if (strcmp(all.at[i], "_default") != 0)
            judge_directory(&j, folder, all.at[i]);
    free(standard);
    free(path);
    names_deinit(&all);
}
