// SPDX-License-Identifier: Apache-2.0
//
// Judging a machine: what the readers read is turned into findings, client by client.
//
// A judge only looks and adds findings; nothing here changes a file or asks the network, but for gateway.h. One thread.

#pragma once

#include "gateway/clients/site.h"
#include "gateway/doctor/hosts_toml.h"
#include "gateway/doctor/machine.h"
#include "gateway/doctor/report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENDS_SOON_DAYS = 30 };

struct doctor {
    const char *root;               ///< "": the machine itself.
    const struct client_site *site; ///< NULL: not known; then nothing counts as the gateway.
    const struct machine *machine;
    struct report *report;
    int64_t now;
};

// --- judges, one a family of clients ---

void judge_docker(struct doctor *d, const struct machine_client *c);
void judge_containerd(struct doctor *d, const struct machine_client *c);
void judge_nerdctl(struct doctor *d, const struct machine_client *c);
void judge_buildkit(struct doctor *d, const struct machine_client *c);
void judge_containers(struct doctor *d, const struct machine_client *c); ///< podman, buildah, skopeo, CRI-O.
void judge_k3s(struct doctor *d, const struct machine_client *c);        ///< And RKE2.
void judge_desktop(struct doctor *d, const struct machine_client *c);

/// A tool that no configuration binds.
void judge_unbound(struct doctor *d, const struct machine_client *c);

/// A file of ~/.docker/buildx/instances: a builder that does not read dockerd's configuration?
void judge_builder(struct doctor *d, const char *client, const char *path);

/// All that the machine has, and what concerns it as a whole.
void judge_machine(struct doctor *d);

// --- what judges share ---

/// A user's own daemon or file, judged in a report `apart`: one finding, open if anything there is. `what` says whose
/// it is.
void doctor_users_own(struct doctor *d, const char *client, const char *where, const struct report *apart,
                      const char *what);

/// The same of a further daemon of the machine's own.
void doctor_other_daemon(struct doctor *d, const char *client, pid_t pid, const struct report *apart);

/// Homes that could not be looked into may hold files of users' own: unknown.
void judge_closed_homes(struct doctor *d, const char *client);

/// `pullgate client NAME --strict --write`, as static text.
const char *fix_command(const char *client);

/// Add a finding whose command is fix_command().
void doctor_open(struct doctor *d, const char *client, const char *code, const char *where, const char *todo,
                 const char *format, ...) __attribute__((format(printf, 6, 7)));

/// A file that the client does not start with. `pullgate client` does not touch what it cannot read, so no command
/// mends it: a person does.
void doctor_unparsable(struct doctor *d, const char *client, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/// FINDING_WARNING where `held` (something else stops it, such as the refusing proxy), else FINDING_OPEN.
void doctor_leaves(struct doctor *d, bool held, const char *client, const char *code, const char *where,
                   const char *todo, const char *format, ...) __attribute__((format(printf, 7, 8)));

/// A file that is there and may not be read, or is no file: FINDING_UNKNOWN.
void doctor_unreadable(struct doctor *d, const char *client, const char *path, const char *words);

/// Is this URL or host[:port][/path] at the gateway?
bool site_is_gateway(const struct client_site *site, const char *text);

/// A registry that the site wants to be reached past the gateway?
bool site_is_wanted(const struct client_site *site, const char *host);

/// Does this name lead to registries that people use? Of those that everybody knows, not the site's own.
bool is_public_registry(const char *host);

/// One that the gateway serves (its name, or one of its hosts)?
bool site_is_served(const struct client_site *site, const char *host);

/// With takeover: does this registry's name lead to the gateway on this machine?
bool doctor_taken_over(const struct doctor *d, const char *host);

/// Does the hosts file lead a registry's name elsewhere than to the gateway?
void judge_hosts_file(struct doctor *d);

struct doctor_proxy {
    bool set;     ///< Some proxy is.
    bool refuses; ///< It is the site's for both schemes, and no registry is excepted: nothing gets past the gateway.
};

/// Judge a daemon's proxy settings; NULLs: not set. `where` names the file.
struct doctor_proxy judge_proxy(struct doctor *d, const char *client, const char *where, const char *http,
                                const char *https, const char *no_proxy);

struct proxy_settings {
    const char *where;             ///< The file that says so.
    const char *http, *https, *no; ///< NULL: it does not say.
};

/// The proxy environment of a daemon: of its unit `unit`, or of the running process, which wins. `own` (or NULL) are
/// settings of the daemon's file, each of which wins over the environment's. `prefix`: see daemon_env.h.
struct doctor_proxy judge_unit_proxy(struct doctor *d, const struct machine_client *c, const char *unit,
                                     const char *prefix, const struct proxy_settings *own);

/// The same for a process alone, whatever a unit says.
struct doctor_proxy judge_process_proxy(struct doctor *d, const struct machine_client *c,
                                        const struct proxy_settings *own);

/// The command line of the running daemon, or what its unit will start it with; the options are looked for with
/// daemon_env.h's option_value().
void daemon_words(struct doctor *d, const struct machine_client *c, const char *unit, struct names *words);

/// What to do about a missing proxy; "needs" says what for.
void judge_no_proxy(struct doctor *d, const char *client, bool open, const char *needs);

struct hosts_judgement {
    bool standard; ///< There is a `_default`, be it without a hosts.toml: no other folder is looked into.
    bool found;    ///< There is a `_default` with a readable hosts.toml.
    bool gateway;  ///< It asks the gateway first.
    bool closed;   ///< It asks nobody but the gateway.
};

/// A folder of host directories (certs.d). `held`: what it leaves open is stopped otherwise.
void judge_hosts(struct doctor *d, const char *client, const char *folder, enum hosts_reader reader, bool held,
                 struct hosts_judgement *out);

/// A client's settings that name a CA, client certificate or key: readable, the right one, and not about to end.
void judge_ca(struct doctor *d, const char *client, const char *path, const char *where);
void judge_certificate(struct doctor *d, const char *client, const char *certificate, const char *key);

/// No CA is named: fine where the system trusts the gateway's.
void judge_no_ca(struct doctor *d, const char *client, const char *where);

/// The client's daemon read this file when it was started: was that before the last change?
void judge_age(struct doctor *d, const struct machine_client *c, const char *path, const char *command);

/// Set what no finding has said: uses the gateway, leaves it. One that does not use it is open, also where its proxy
/// keeps it from the registries: whoever reads `uses` has to come to the same verdict.
void doctor_settle(struct doctor *d, const char *client, bool uses);
