// SPDX-License-Identifier: Apache-2.0
//
// What a plan is made of, for the files that build, print and write it (plan.c, plan_print.c, plan_write.c). Owned by
// the plan; one thread.

#pragma once

#include "gateway/clients/plan.h"

#include <stdint.h>

enum { PLAN_ITEMS_MAX = 10000, PLAN_CLIENTS_MAX = 64 };

struct plan_setting {
    char *path[CONF_PATH_MAX + 1]; ///< Ends with NULL.
    char *value;                   ///< JSON; NULL: nothing is to be there.
    char *comment;                 ///< What it is for, or why it goes. Never NULL.
    bool strict_only;
};

enum plan_kind { PLAN_SETTINGS, PLAN_TEXT, PLAN_BLOCK, PLAN_LINK, PLAN_ASIDE };

struct plan_file {
    enum plan_kind kind;
    uint64_t clients; ///< For whom it is: a bit for each name of plan_client().
    char *path;
    enum conf_format format; ///< PLAN_SETTINGS.
    struct plan_setting *settings;
    size_t count;
    mode_t mode;  ///< PLAN_TEXT.
    char *text;   ///< The text, or the link's target.
    char *out_of; ///< PLAN_TEXT, PLAN_ASIDE: what is kept goes beside this folder; may be NULL.
    char *home;   ///< PLAN_ASIDE: the user's folder in which `path` stands, or NULL.
    char *reason; ///< PLAN_ASIDE: why. PLAN_TEXT: what is printed in the place of the text. PLAN_BLOCK: names. NULL:
                  ///< none.
};

struct plan_line {
    char *text;
    uint64_t clients; ///< As of a file.
    bool left;        ///< By plan_left().
};

struct plan_lines {
    struct plan_line *lines;
    size_t count;
};

enum plan_did { DID_WRITE, DID_NOTHING, DID_ASIDE, DID_LEAVE, DID_REFUSE, DID_FAIL };

struct plan_outcome {
    enum plan_did did;
    char *path, *about; ///< `about` may be empty.
};

struct client_plan {
    struct plan_file **files;
    size_t count;
    struct plan_lines open, notes, runs;
    size_t left; ///< Of `open`, by plan_left().
    char *names[PLAN_CLIENTS_MAX];
    size_t name_count;
    uint64_t client; ///< For whom is planned now.
    bool less;       ///< plan_tell_less().
    // What plan_write() did.
    bool written, changed;
    uint64_t touched; ///< The clients that are to be restarted.
    struct plan_outcome *outcomes;
    size_t outcome_count;
};

/// The settings in `text`, all or none: with CONF_UNSAFE it is as it was, and `err` says why. What only --strict
/// changes, and was wanted, is told in `left`, one line each.
enum conf_edit plan_merge(const struct plan_file *f, bool strict, struct buf *text, struct buf *left, struct err *err);

/// pullgate's lines between their marks in `text`. False when the marks there make no sense.
bool plan_merge_block(const char *block, struct buf *text, struct err *err);

/// Lines outside of the block that have one of `names`: told in `left`, one line each; with `strict` they are made
/// comments instead.
void plan_merge_rivals(const char *names, bool strict, struct buf *text, struct buf *left);

/// The settings as the file would be on an empty machine, comments included.
bool plan_fresh(const struct plan_file *f, struct buf *text, struct err *err);

/// registry."docker.io".mirrors: a path for a person.
void plan_path_words(const struct plan_setting *s, struct buf *out);

/// Forget what plan_write() did.
void plan_outcomes_drop(struct client_plan *p);

/// Is this command to be told? Before anything was written, each is.
bool plan_is_to_run(const struct client_plan *p, const struct plan_line *command);

/// One file as text for a person: what would be written on an empty machine. Unless `whole`, a very long text is cut.
void plan_print_file(const struct plan_file *f, bool whole, FILE *out);
