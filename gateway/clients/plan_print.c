// SPDX-License-Identifier: Apache-2.0
//
// A plan as text for a person: each file as it would be on an empty machine, what each line is for, what to run, what
// stays open. Nothing here reads or writes a file.

#include "gateway/clients/plan_inside.h"

#include <string.h>

enum { PRINT_WIDTH = 110, PRINT_LINES_MAX = 150, PRINT_LINES_CUT = 12 };

/// The sentence, broken at blanks; the first line begins with `head`, the others with as many blanks (after the '#' of
/// one that begins so).
static void print_wrapped(FILE *out, const char *head, const char *sentence) {
    size_t indent = strlen(head), column = indent;
    fputs(head, out);
    for (const char *at = sentence; *at != '\0';) {
        size_t word = strcspn(at, " \n");
        if (column > indent && column + 1 + word > PRINT_WIDTH) {
            fprintf(out, "\n%c%*s", head[0] == '#' ? '#' : ' ', (int)indent - 1, "");
            column = indent;
        }
        fprintf(out, "%s%.*s", column > indent ? " " : "", (int)word, at);
        column += word + (column > indent ? 1 : 0);
        at += word;
        at += strspn(at, " \n");
    }
    fputc('\n', out);
}

static void print_path(const struct plan_setting *s, const char *head, FILE *out) {
    struct buf words;
    buf_init(&words, ERR_TEXT_MAX);
    plan_path_words(s, &words);
    print_wrapped(out, head, words.data);
    buf_deinit(&words);
}

static bool is_told(const struct plan_setting *s, bool unset) {
    return (s->value == NULL) == unset && s->comment[0] != '\0';
}

/// What each setting is for, said once for neighbours that have it in common.
static void print_setting_words(const struct plan_file *f, bool unset, FILE *out) {
    for (size_t i = 0; i < f->count; i++) {
        const struct plan_setting *s = &f->settings[i], *next = i + 1 < f->count ? s + 1 : NULL;
        if (!is_told(s, unset))
            continue;
        print_path(s, unset ? "# To be taken out: " : "# ", out);
        if (next == NULL || !is_told(next, unset) || strcmp(next->comment, s->comment) != 0)
            print_wrapped(out, "#   ", s->comment);
    }
}

static void print_settings(const struct plan_file *f, FILE *out) {
    struct buf text;
    struct err err = {""};
    buf_init(&text, CONF_TEXT_MAX);
    fprintf(out, "### %s\n", f->path);
    if (plan_fresh(f, &text, &err))
        fprintf(out, "%s\n", text.data != NULL ? text.data : "");
    else
        fprintf(out, "# %s\n", err.text);
    if (f->format == CONF_JSON)
        print_setting_words(f, false, out);
    print_setting_words(f, true, out);
    if (f->format == CONF_JSON)
        fputc('\n', out);
    buf_deinit(&text);
}

static size_t count_lines(const char *text) {
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/// Nobody reads hundreds of lines between others.
static void print_cut(const char *text, FILE *out) {
    size_t lines = count_lines(text), len = 0;
    for (size_t i = 0; i < PRINT_LINES_CUT; i++)
        len += strcspn(text + len, "\n") + 1;
    fprintf(out, "%.*s# … and %zu lines more, which --write writes (with --root DIR into a folder to look at)\n\n",
            (int)len, text, lines - PRINT_LINES_CUT);
}

static void print_text(const struct plan_file *f, bool whole, FILE *out) {
    fprintf(out, "### %s%s\n", f->path, (f->mode & 0044) == 0 ? " (readable by its owner alone)" : "");
    if (f->reason != NULL) {
        print_wrapped(out, "# ", f->reason);
        fputc('\n', out);
    } else if (whole || count_lines(f->text) <= PRINT_LINES_MAX)
        fprintf(out, "%s\n", f->text);
    else
        print_cut(f->text, out);
}

void plan_print_file(const struct plan_file *f, bool whole, FILE *out) {
    switch (f->kind) {
    case PLAN_SETTINGS:
        print_settings(f, out);
        return;
    case PLAN_TEXT:
        print_text(f, whole, out);
        return;
    case PLAN_BLOCK:
        fprintf(out, "### %s (lines to be added)\n%s\n", f->path, f->text);
        return;
    case PLAN_LINK:
        fprintf(out, "### %s -> %s (a symbolic link)\n\n", f->path, f->text);
        return;
    case PLAN_ASIDE:
        fprintf(out, "### %s is to go\n", f->path);
        print_wrapped(out, "# ", f->reason);
        fputc('\n', out);
        return;
    }
}

static void print_lines(const struct plan_lines *l, bool left_only, const char *heading, FILE *out) {
    size_t told = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (left_only && !l->lines[i].left)
            continue;
        if (told++ == 0)
            fprintf(out, "### %s\n", heading);
        print_wrapped(out, "- ", l->lines[i].text);
    }
    if (told > 0)
        fputc('\n', out);
}

static void print_commands(const struct client_plan *p, FILE *out) {
    size_t told = 0;
    for (size_t i = 0; i < p->runs.count; i++) {
        if (!plan_is_to_run(p, &p->runs.lines[i]))
            continue;
        if (told++ == 0)
            fprintf(out, "### Then run\n");
        fprintf(out, "%s\n", p->runs.lines[i].text);
    }
    if (told > 0)
        fputc('\n', out);
    else if (p->written && !p->less)
        fprintf(out, "### Nothing to restart\n%s\n\n",
                p->changed ? "What was changed is read anew with each pull." : "Nothing was changed.");
}

void plan_print_rest(const struct client_plan *p, FILE *out) {
    print_commands(p, out);
    print_lines(&p->open, p->less, "What stays open", out);
    if (!p->less)
        print_lines(&p->notes, false, "Good to know", out);
}

/// What is pullgate's own, and only named, stands below what a person looks for.
void plan_print(const struct client_plan *p, FILE *out) {
    for (int named = 0; named <= 1; named++)
        for (size_t i = 0; i < p->count; i++) {
            const struct plan_file *f = p->files[i];
            if ((f->kind == PLAN_TEXT && f->reason != NULL) == named)
                plan_print_file(f, false, out);
        }
    plan_print_rest(p, out);
}
