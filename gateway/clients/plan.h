// SPDX-License-Identifier: Apache-2.0
//
// A plan: what a client's configuration is to say, file by file, before anything is printed or written.
//
// A file is either a list of settings (paths of keys with values, in the format of the file) or, where the file is
// pullgate's alone, a whole text. The settings are the one source both of what is printed for an empty machine and of
// what is merged into a file that is there (formats/conf.h), so the two cannot differ. Written twice, nothing changes.
// Before a file is changed its old text is kept beside it as NAME.pullgate-backup[.N]; files are replaced by rename,
// with the owner and mode that they had. One thread.

#pragma once

#include "gateway/formats/conf.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

struct client_plan;
struct plan_file;

struct client_plan *plan_new(void);
void plan_free(struct client_plan *p);

/// What is planned from here on is for the client of this name, and for those of earlier calls that planned the same.
/// After writing, only the commands of clients whose files changed are told. NULL: for none.
void plan_client(struct client_plan *p, const char *name);

/// A file of settings at this absolute path. Asking again for the same path gives the same file, so that clients that
/// share one (podman, CRI-O) can be planned together.
struct plan_file *plan_file(struct client_plan *p, const char *path, enum conf_format format);

/// A file that is pullgate's alone; replaced whole when it differs. `mode` as for chmod. `text` is copied.
void plan_text(struct client_plan *p, const char *path, mode_t mode, const char *text);

/// The same; printed, `about` stands in the place of the text.
void plan_text_named(struct client_plan *p, const char *path, mode_t mode, const char *text, const char *about);

/// The same where every file of the folder `out_of` counts, whatever its name: the backup goes beside that folder.
void plan_text_alone(struct client_plan *p, const char *path, mode_t mode, const char *text, const char *out_of);

/// Have `value` (JSON, see conf_set()) at the path of keys, ended by NULL. `comment` says what the line is for; it
/// stands above it where the format has comments, and is listed below the file where it has none.
void plan_set(struct plan_file *f, const char *comment, const char *value, const char *const *path);

/// Have nothing at the path, because of `why`. `strict_only`: without --strict it is only named as open.
void plan_unset(struct plan_file *f, const char *why, bool strict_only, const char *const *path);

/// Like plan_set(), because of `why`; without --strict it is only named as open.
void plan_set_strict(struct plan_file *f, const char *why, const char *value, const char *const *path);

/// A symbolic link at `path` that leads to `target`; what is there is kept as a backup.
void plan_link(struct client_plan *p, const char *path, const char *target);

/// Lines of pullgate's own in a file of somebody else's whose comments begin with '#': they stand between two marks,
/// and the rest of the file stays. `text` is copied; empty: the marks go too.
void plan_block(struct client_plan *p, const char *path, const char *text);

/// Somebody else's lines in the same file that lead one of these names ("10.0.0.5,ghcr.io,…": the address, then names)
/// to another address may win over the block. They are named, and with --strict made comments.
void plan_block_rivals(struct client_plan *p, const char *path, const char *names);

/// This file or folder wins over what is planned and takes requests past the gateway: named, and with --strict moved
/// aside (renamed to NAME.pullgate-aside[.N]; beside the folder `out_of`, where that is not NULL because a name in it
/// would still count).
void plan_aside(struct client_plan *p, const char *path, const char *why, const char *out_of);

/// The same for what stands at HOME/path, in a user's own folder: below HOME no symbolic link is followed, because its
/// owner could lead it to anybody's file.
void plan_aside_of_user(struct client_plan *p, const char *home, const char *path, const char *why);

/// A sentence on what stays open in this client, and one on something the person must know.
void plan_open(struct client_plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void plan_note(struct client_plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// Like plan_open(), on something of this machine that wins over what is planned and that a person must change: when
/// the plan is written it counts as refused.
void plan_left(struct client_plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// A command for the person to run afterwards ("systemctl restart docker").
void plan_run(struct client_plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// The whole as text for a person: each file as it would be on an empty machine, comments, what to run, what stays
/// open. Of a very long text only the beginning.
void plan_print(const struct client_plan *p, FILE *out);

/// Only what to run and what stays open. After plan_write(): only what is to be run because of what it changed.
void plan_print_rest(const struct client_plan *p, FILE *out);

/// What plan_write() did, as one JSON object:
///
///     { "changed": true, "files": [ { "path": "/etc/docker/daemon.json", "what": "written", "about": "…" } ],
///       "run": ["systemctl restart docker"], "open": ["…"], "notes": ["…"] }
///
/// "what" is written, unchanged, aside (moved there), left (--strict would change it), refused (its content, or where
/// it is, forbids it) or failed.
void plan_print_json(const struct client_plan *p, FILE *out);

struct plan_result {
    size_t changed, same, aside; ///< Files written, files that were right already, things moved aside.
    size_t refused; ///< Files that could not be edited safely (printed instead), things left that win, plan_left().
};

/// From here on plan_write() and plan_print_rest() tell only what changed, what could not be done, and what to run.
void plan_tell_less(struct client_plan *p);

/// Do it below `root` ("" or "/": the machine itself). Each file is told on `out`: written, unchanged, or why not.
/// False when something failed that was to be written (disk, permission); the rest is done all the same.
bool plan_write(struct client_plan *p, const char *root, bool strict, FILE *out, struct plan_result *result,
                struct err *err);
