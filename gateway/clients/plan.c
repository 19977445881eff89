// SPDX-License-Identifier: Apache-2.0
//
// Plans: what is gathered before it is printed or written. What is said twice, by two clients that share a file, is
// kept once.

#include "gateway/clients/plan_inside.h"

#include "mirrors/base/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PLAN_LINE_MAX = 4096 };

struct client_plan *plan_new(void) {
    return mem_zalloc(1, sizeof(struct client_plan));
}

static void setting_deinit(struct plan_setting *s) {
    for (size_t i = 0; s->path[i] != NULL; i++)
        free(s->path[i]);
    free(s->value);
    free(s->comment);
}

static void file_free(struct plan_file *f) {
    for (size_t i = 0; i < f->count; i++)
        setting_deinit(&f->settings[i]);
    free(f->settings);
    free(f->path);
    mem_wipe(f->text);
    free(f->out_of);
    free(f->home);
    free(f->reason);
    free(f);
}

static void lines_deinit(struct plan_lines *l) {
    for (size_t i = 0; i < l->count; i++)
        free(l->lines[i].text);
    free(l->lines);
}

void plan_outcomes_drop(struct client_plan *p) {
    for (size_t i = 0; i < p->outcome_count; i++) {
        free(p->outcomes[i].path);
        free(p->outcomes[i].about);
    }
    free(p->outcomes);
    p->outcomes = NULL;
    p->outcome_count = 0;
}

void plan_free(struct client_plan *p) {
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++)
        file_free(p->files[i]);
    free(p->files);
    lines_deinit(&p->open);
    lines_deinit(&p->notes);
    lines_deinit(&p->runs);
    plan_outcomes_drop(p);
    for (size_t i = 0; i < p->name_count; i++)
        free(p->names[i]);
    free(p);
}

void plan_tell_less(struct client_plan *p) {
    p->less = true;
}

// --- for whom ---

/// Of more names than there are bits, those that are too many share the last.
static size_t client_bit(struct client_plan *p, const char *name) {
    for (size_t i = 0; i < p->name_count; i++)
        if (strcmp(p->names[i], name) == 0)
            return i;
    if (p->name_count == PLAN_CLIENTS_MAX)
        return PLAN_CLIENTS_MAX - 1;
    p->names[p->name_count] = mem_strdup(name);
    return p->name_count++;
}

void plan_client(struct client_plan *p, const char *name) {
    p->client = name != NULL ? UINT64_C(1) << client_bit(p, name) : 0;
}

bool plan_is_to_run(const struct client_plan *p, const struct plan_line *command) {
    if (!p->written)
        return true;
    return command->clients != 0 ? (command->clients & p->touched) != 0 : p->changed;
}

// --- files ---

/// The item of this kind at this path, made when it is not there.
static struct plan_file *item(struct client_plan *p, enum plan_kind kind, const char *path) {
    for (size_t i = 0; i < p->count; i++)
        if (p->files[i]->kind == kind && strcmp(p->files[i]->path, path) == 0) {
            p->files[i]->clients |= p->client;
            return p->files[i];
        }
    struct plan_file *f = mem_zalloc(1, sizeof *f);
    f->kind = kind;
    f->path = mem_strdup(path);
    f->clients = p->client;
    p->files = mem_resize(p->files, p->count + 1, sizeof(struct plan_file *));
    p->files[p->count++] = f;
    return f;
}

static void replace(char **at, const char *with) {
    mem_wipe(*at);
    *at = mem_strdup(with);
}

struct plan_file *plan_file(struct client_plan *p, const char *path, enum conf_format format) {
    struct plan_file *f = item(p, PLAN_SETTINGS, path);
    f->format = format;
    return f;
}

void plan_text(struct client_plan *p, const char *path, mode_t mode, const char *text) {
    struct plan_file *f = item(p, PLAN_TEXT, path);
    f->mode = mode;
    replace(&f->text, text);
}

void plan_text_named(struct client_plan *p, const char *path, mode_t mode, const char *text, const char *about) {
    plan_text(p, path, mode, text);
    replace(&item(p, PLAN_TEXT, path)->reason, about);
}

void plan_text_alone(struct client_plan *p, const char *path, mode_t mode, const char *text, const char *out_of) {
    plan_text(p, path, mode, text);
    replace(&item(p, PLAN_TEXT, path)->out_of, out_of);
}

void plan_link(struct client_plan *p, const char *path, const char *target) {
    replace(&item(p, PLAN_LINK, path)->text, target);
}

void plan_block(struct client_plan *p, const char *path, const char *text) {
    replace(&item(p, PLAN_BLOCK, path)->text, text);
}

void plan_block_rivals(struct client_plan *p, const char *path, const char *names) {
    replace(&item(p, PLAN_BLOCK, path)->reason, names);
}

void plan_aside(struct client_plan *p, const char *path, const char *why, const char *out_of) {
    struct plan_file *f = item(p, PLAN_ASIDE, path);
    replace(&f->reason, why);
    replace(&f->out_of, out_of);
}

void plan_aside_of_user(struct client_plan *p, const char *home, const char *path, const char *why) {
    char *whole = mem_printf("%s%s", home, path);
    plan_aside(p, whole, why, NULL);
    replace(&item(p, PLAN_ASIDE, whole)->home, home);
    free(whole);
}

// --- settings ---

static bool same_path(const struct plan_setting *s, const char *const *path) {
    size_t i = 0;
    for (; s->path[i] != NULL && path[i] != NULL; i++)
        if (strcmp(s->path[i], path[i]) != 0)
            return false;
    return s->path[i] == NULL && path[i] == NULL;
}

static struct plan_setting *setting_at(struct plan_file *f, const char *const *path) {
    for (size_t i = 0; i < f->count; i++)
        if (same_path(&f->settings[i], path))
            return &f->settings[i];
    f->settings = mem_resize(f->settings, f->count + 1, sizeof(struct plan_setting));
    struct plan_setting *s = &f->settings[f->count++];
    *s = (struct plan_setting){0};
    for (size_t i = 0; i < CONF_PATH_MAX && path[i] != NULL; i++)
        s->path[i] = mem_strdup(path[i]);
    return s;
}

static void put(struct plan_file *f, const char *comment, const char *value, bool strict_only,
                const char *const *path) {
    struct plan_setting *s = setting_at(f, path);
    replace(&s->comment, comment != NULL ? comment : "");
    replace(&s->value, value);
    s->strict_only = strict_only;
}

void plan_set(struct plan_file *f, const char *comment, const char *value, const char *const *path) {
    put(f, comment, value, false, path);
}

void plan_set_strict(struct plan_file *f, const char *why, const char *value, const char *const *path) {
    put(f, why, value, true, path);
}

void plan_unset(struct plan_file *f, const char *why, bool strict_only, const char *const *path) {
    put(f, why, NULL, strict_only, path);
}

// --- sentences ---

/// False: it is said already.
static bool add_line(struct plan_lines *l, uint64_t clients, const char *format, va_list arguments) {
    char line[PLAN_LINE_MAX];
    vsnprintf(line, sizeof line, format, arguments);
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->lines[i].text, line) == 0) {
            l->lines[i].clients |= clients;
            return false;
        }
    l->lines = mem_resize(l->lines, l->count + 1, sizeof(struct plan_line));
    l->lines[l->count++] = (struct plan_line){.text = mem_strdup(line), .clients = clients};
    return true;
}

void plan_open(struct client_plan *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_line(&p->open, p->client, format, arguments);
    va_end(arguments);
}

void plan_left(struct client_plan *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (add_line(&p->open, p->client, format, arguments)) {
        p->open.lines[p->open.count - 1].left = true;
        p->left++;
    }
    va_end(arguments);
}

void plan_note(struct client_plan *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_line(&p->notes, p->client, format, arguments);
    va_end(arguments);
}

void plan_run(struct client_plan *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_line(&p->runs, p->client, format, arguments);
    va_end(arguments);
}
