// SPDX-License-Identifier: Apache-2.0
//
// A plan carried out below a root: each file is read, merged and, where that changes something, kept as a backup and
// replaced. What cannot be edited safely is printed instead and counts as refused. Nothing is done twice.

#include "gateway/clients/plan_inside.h"
#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

enum { LEFT_MAX = 64 * 1024, ABOUT_MAX = 4096 };

struct writing {
    struct client_plan *plan; ///< Is told what was done.
    const struct rooted *root;
    bool strict;
    FILE *out;
    struct plan_result *result;
    struct err *err; ///< The first failure.
    bool failed;
};

static const char *did_mark(enum plan_did did) {
    static const char *const marks[] = {
        [DID_WRITE] = "written", [DID_NOTHING] = "unchanged",  [DID_ASIDE] = "moved aside",
        [DID_LEAVE] = "LEFT",    [DID_REFUSE] = "NOT WRITTEN", [DID_FAIL] = "NOT WRITTEN"};
    return marks[did];
}

static void keep_outcome(struct client_plan *p, const struct plan_file *f, enum plan_did did, const char *about) {
    p->outcomes = mem_resize(p->outcomes, p->outcome_count + 1, sizeof *p->outcomes);
    p->outcomes[p->outcome_count++] =
        (struct plan_outcome){.did = did, .path = mem_strdup(f->path), .about = mem_strdup(about)};
    if (did != DID_WRITE && did != DID_ASIDE)
        return;
    p->changed = true;
    p->touched |= f->clients;
}

/// One line on a file. `format` makes what stands behind the path; it may be "".
__attribute__((format(printf, 4, 5))) static void tell(const struct writing *w, enum plan_did did,
                                                       const struct plan_file *f, const char *format, ...) {
    char about[ABOUT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(about, sizeof about, format, arguments);
    va_end(arguments);
    keep_outcome(w->plan, f, did, about);
    if (did != DID_NOTHING || !w->plan->less)
        fprintf(w->out, "%-11s  %s%s%s\n", did_mark(did), f->path, about[0] != '\0' ? ": " : "", about);
}

/// A disk or a permission: the others are written all the same, and the whole has failed.
static bool fail(struct writing *w, const struct plan_file *f, const struct err *cause) {
    tell(w, DID_FAIL, f, "%s", cause->text);
    if (!w->failed)
        err_set(w->err, "%s: %s", f->path, cause->text);
    w->failed = true;
    return false;
}

static bool is_secret(mode_t mode) {
    return (mode & 0077) == 0;
}

/// It is the content that forbids it: a person must do it.
static bool refuse(struct writing *w, const struct plan_file *f, const struct err *cause) {
    tell(w, DID_REFUSE, f, "%s", cause->text);
    w->result->refused++;
    if (f->kind == PLAN_TEXT && is_secret(f->mode)) {
        fprintf(w->out, "  It stays as it is. It would hold a secret, which is not shown here.\n");
        return false;
    }
    fprintf(w->out, "  It stays as it is. This is what it is to say:\n\n");
    plan_print_file(f, true, w->out);
    return false;
}

// --- plain files ---

/// The old text as a copy: in the same folder, unless its name would count there.
static bool keep_old(struct writing *w, const struct plan_file *f, const struct rooted_place *place,
                     char kept[NAME_MAX + 1], struct err *err) {
    if (f->out_of == NULL)
        return rooted_backup(place, place, kept, err);
    struct rooted_place into;
    bool ok = rooted_find(w->root, f->out_of, 0, &into, err) && rooted_backup(place, &into, kept, err);
    rooted_leave(&into);
    return ok;
}

static bool put(struct writing *w, const struct plan_file *f, struct rooted_place *place, const struct buf *text,
                mode_t mode) {
    struct err err = {""};
    char kept[NAME_MAX + 1] = "";
    if (place->exists && !keep_old(w, f, place, kept, &err))
        return fail(w, f, &err);
    if (!rooted_write(place, text->data != NULL ? text->data : "", text->len, mode, &err))
        return fail(w, f, &err);
    w->result->changed++;
    if (kept[0] == '\0')
        tell(w, DID_WRITE, f, "%s", "");
    else
        tell(w, DID_WRITE, f, "what it said is in %s%s", kept, f->out_of != NULL ? ", one folder up" : "");
    return true;
}

static void keep_same(struct writing *w, const struct plan_file *f) {
    w->result->same++;
    tell(w, DID_NOTHING, f, "%s", "");
}

/// Read what is there into `text`; a missing file is an empty one. False: told already.
static bool read_old(struct writing *w, const struct plan_file *f, const struct rooted_place *place, struct buf *text) {
    struct err err = {""};
    if (!place->exists || rooted_read(place, text, &err))
        return true;
    return refuse(w, f, &err);
}

/// A secret that others may read; a copy of it would be one more.
static void close_up(struct writing *w, const struct plan_file *f, struct rooted_place *place) {
    struct err err = {""};
    if (!rooted_write(place, f->text, strlen(f->text), f->mode, &err)) {
        fail(w, f, &err);
        return;
    }
    w->result->changed++;
    tell(w, DID_WRITE, f, "it says the same, and only its owner may read it now");
}

static void write_text(struct writing *w, const struct plan_file *f, struct rooted_place *place, struct buf *text) {
    size_t len = strlen(f->text);
    bool same = place->exists && text->len == len && (len == 0 || memcmp(text->data, f->text, len) == 0);
    if (same && is_secret(f->mode) && !is_secret(place->st.st_mode)) {
        close_up(w, f, place);
        return;
    }
    if (same) {
        keep_same(w, f);
        return;
    }
    buf_clear(text);
    buf_add(text, f->text, len);
    put(w, f, place, text, f->mode);
}

static void tell_left(struct writing *w, const struct plan_file *f, char *left) {
    for (char *line = strtok(left, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        tell(w, DID_LEAVE, f, "%s (--strict changes it)", line);
        w->result->refused++;
    }
}

static void write_settings(struct writing *w, const struct plan_file *f, struct rooted_place *place, struct buf *text) {
    struct err err = {""};
    struct buf left;
    buf_init(&left, LEFT_MAX);
    enum conf_edit result = plan_merge(f, w->strict, text, &left, &err);
    if (result == CONF_UNSAFE)
        refuse(w, f, &err);
    else if (result == CONF_CHANGED)
        put(w, f, place, text, 0644);
    else if (place->exists)
        keep_same(w, f);
    if (left.data != NULL)
        tell_left(w, f, left.data);
    buf_deinit(&left);
}

static void write_block(struct writing *w, const struct plan_file *f, struct rooted_place *place, struct buf *text) {
    struct err err = {""};
    struct buf old, left;
    buf_init(&old, CONF_TEXT_MAX);
    buf_init(&left, LEFT_MAX);
    buf_add(&old, text->data != NULL ? text->data : "", text->len);
    bool merged = plan_merge_block(f->text, text, &err);
    if (merged && f->reason != NULL)
        plan_merge_rivals(f->reason, w->strict, text, &left);
    if (!merged)
        refuse(w, f, &err);
    else if (old.len == text->len && (old.len == 0 || memcmp(old.data, text->data, old.len) == 0))
        keep_same(w, f);
    else
        put(w, f, place, text, 0644);
    if (left.data != NULL)
        tell_left(w, f, left.data);
    buf_deinit(&left);
    buf_deinit(&old);
}

static void write_plain(struct writing *w, const struct plan_file *f) {
    struct rooted_place place;
    struct err err = {""};
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    if (!rooted_find(w->root, f->path, ROOTED_MAKE, &place, &err))
        fail(w, f, &err);
    else if (!read_old(w, f, &place, &text))
        ;
    else if (f->kind == PLAN_TEXT)
        write_text(w, f, &place, &text);
    else if (f->kind == PLAN_BLOCK)
        write_block(w, f, &place, &text);
    else
        write_settings(w, f, &place, &text);
    rooted_leave(&place);
    buf_deinit(&text);
}

// --- links, and what goes ---

static bool place_link(struct writing *w, const struct plan_file *f, struct rooted_place *place) {
    struct err err = {""};
    char kept[NAME_MAX + 1] = "", target[PATH_MAX];
    if (place->exists && rooted_target(place, target) && strcmp(target, f->text) == 0) {
        keep_same(w, f);
        return true;
    }
    if ((place->exists && !rooted_backup(place, place, kept, &err)) || !rooted_symlink(place, f->text, &err))
        return fail(w, f, &err);
    w->result->changed++;
    tell(w, DID_WRITE, f, "a link");
    return true;
}

static void write_link(struct writing *w, const struct plan_file *f) {
    struct rooted_place place;
    struct err err = {""};
    if (!rooted_find(w->root, f->path, ROOTED_MAKE | ROOTED_LINK, &place, &err))
        fail(w, f, &err);
    else
        place_link(w, f, &place);
    rooted_leave(&place);
}

static bool move_aside(struct writing *w, const struct plan_file *f, const struct rooted_place *place) {
    struct err err = {""};
    struct rooted_place into = *place;
    char kept[NAME_MAX + 1];
    bool elsewhere = f->out_of != NULL;
    if (elsewhere && (!rooted_find(w->root, f->out_of, 0, &into, &err) || into.folder < 0))
        return fail(w, f, &err);
    bool ok = rooted_aside(place, &into, kept, &err);
    if (elsewhere)
        rooted_leave(&into);
    if (!ok)
        return fail(w, f, &err);
    w->result->aside++;
    tell(w, DID_ASIDE, f, "now %s, %s: %s", kept, elsewhere ? "one folder up" : "in the same folder", f->reason);
    return true;
}

static bool find_aside(struct writing *w, const struct plan_file *f, struct rooted_place *place, struct err *err) {
    struct rooted home;
    if (f->home == NULL)
        return rooted_find(w->root, f->path, ROOTED_LINK, place, err);
    *place = (struct rooted_place){.folder = -1};
    if (!rooted_enter(w->root, f->home, &home, err))
        return false;
    bool found = rooted_find(&home, f->path + strlen(f->home), ROOTED_LINK, place, err);
    rooted_close(&home);
    return found;
}

static void tell_not_aside(struct writing *w, const struct plan_file *f, const struct err *cause) {
    if (f->home == NULL) {
        fail(w, f, cause);
        return;
    }
    tell(w, DID_LEAVE, f, "%s (it is not moved: %s)", f->reason, cause->text);
    w->result->refused++;
}

static void write_aside(struct writing *w, const struct plan_file *f) {
    struct rooted_place place;
    struct err err = {""};
    if (!find_aside(w, f, &place, &err)) {
        tell_not_aside(w, f, &err);
        return;
    }
    if (place.exists && w->strict) {
        move_aside(w, f, &place);
    } else if (place.exists) {
        tell(w, DID_LEAVE, f, "%s (--strict moves it aside)", f->reason);
        w->result->refused++;
    }
    rooted_leave(&place);
}

// --- the whole ---

/// What is to be run there follows once it is put there.
static void print_elsewhere(struct writing *w, const struct plan_file *f) {
    tell(w, DID_REFUSE, f, "it is on another machine (Windows); put it there yourself:");
    fputc('\n', w->out);
    plan_print_file(f, true, w->out);
    w->plan->touched |= f->clients;
    w->result->refused++;
}

static void write_item(struct writing *w, const struct plan_file *f) {
    if (f->path[0] != '/') {
        print_elsewhere(w, f);
    } else if (f->kind == PLAN_LINK) {
        write_link(w, f);
    } else if (f->kind == PLAN_ASIDE) {
        write_aside(w, f);
    } else {
        write_plain(w, f);
    }
}

/// What an earlier plan_write() did.
static void forget(struct client_plan *p) {
    plan_outcomes_drop(p);
    p->changed = false;
    p->touched = 0;
}

bool plan_write(struct client_plan *p, const char *root, bool strict, FILE *out, struct plan_result *result,
                struct err *err) {
    struct rooted r;
    *result = (struct plan_result){0};
    forget(p);
    p->written = true;
    if (!rooted_open(&r, root, err))
        return false;
    struct writing w = {.plan = p, .root = &r, .strict = strict, .out = out, .result = result, .err = err};
    mode_t old = umask(022); // Others must be able to pass the folders that are made.
    for (size_t i = 0; i < p->count; i++)
        write_item(&w, p->files[i]);
    umask(old);
    result->refused += p->left;
    rooted_close(&r);
    return !w.failed;
}
