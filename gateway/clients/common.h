// SPDX-License-Identifier: Apache-2.0
//
// What the plans of several clients have in common: hosts.toml folders, the proxy that refuses, texts that are there.
// Called while planning; one thread.

#pragma once

#include "gateway/clients/clients.h"
#include "gateway/formats/conf.h"

#define PULLGATE_MARK "# Written by `pullgate client`"

/// "[::1]:5443" is "::1", "gateway.example.com:5443" is "gateway.example.com": freed by the caller.
char *host_without_port(const char *host);

bool host_is_loopback(const char *host);

/// Is it one of the registries that clients are to reach themselves?
bool site_is_direct(const struct client_site *site, const char *host);

/// Does `names` hold a '*'?
bool is_wildcard(const char *name);

/// A JSON string, or a list of one: freed by the caller.
char *json_quoted(const char *s);
char *json_list_of(const char *s);

/// What NO_PROXY is to say: the gateway, direct registries, the site's own, and `more` (may be NULL; begins with a
/// comma). Freed by the caller.
char *site_no_proxy_text(const struct client_site *site, const char *more);

/// The environment of a service: a drop-in for systemd that names the proxy that refuses. `prefix` stands before each
/// name ("CONTAINERD_"). `more` as above. Nothing without site->proxy.
void plan_proxy_unit(struct client_plan *p, const struct client_site *site, const char *unit, const char *prefix,
                     const char *more);

/// Name what says something else than that drop-in: a line with `variable` ("_PROXY="; NULL: none counts) in a later
/// drop-in or in the environment `files` that the unit reads (ends with NULL, may be NULL); and wherever the daemon is
/// started with one of `flags` (likewise).
void plan_service_rivals(struct client_plan *p, const struct client_options *options, const char *unit,
                         const char *variable, const char *const *files, const char *const *flags);

/// FOLDER/_default/hosts.toml in the form that is closed in containerd 1.6, 2.3 and dockerd 29 alike; a folder for each
/// direct registry; what else is there and wins is to go, but for those `taken` over (",ghcr.io,…", or NULL). `who`
/// reads it ("dockerd").
void plan_hosts_folder(struct client_plan *p, const struct client_site *site, const struct client_options *options,
                       const char *folder, const char *who, const char *taken);

/// FOLDER/NAME/hosts.toml for a registry whose own name leads to the gateway.
void plan_taken_hosts(struct client_plan *p, const struct client_site *site, const char *folder, const char *name);

/// Does the list ",a,b" hold this name?
bool list_holds(const char *list, const char *name);

/// The parsed text at `path`, if files are to be looked at and it is there and parses; freed with conf_free().
struct conf_document *conf_there(const struct client_options *options, const char *path, enum conf_format format);

/// The version that the installed program prints ("20.10.24"), found where daemons are installed and asked with a bound
/// on time. Only on the machine itself; false when it is not there or does not say.
enum { VERSION_TEXT_MAX = 64 };
bool installed_version(const struct client_options *options, const char *program, char version[VERSION_TEXT_MAX]);

/// The version in what a program printed; the first word that is numbers with dots, a "v" before it aside.
bool version_find(const char *answer, char version[VERSION_TEXT_MAX]);

/// The first number in "20.10.24" (0 when there is none).
unsigned version_major(const char *version);
