// SPDX-License-Identifier: Apache-2.0
//
// What is planned, put into a text that is there: all of it or nothing. Pure; any thread.

#include "gateway/clients/common.h"
#include "gateway/clients/plan_inside.h"

#include "mirrors/base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char begin_mark[] =
    "# BEGIN pullgate (written by `pullgate client`; what stands between the marks is replaced)\n";
static const char begin_word[] = "# BEGIN pullgate", end_mark[] = "# END pullgate\n", end_word[] = "# END pullgate";

void plan_path_words(const struct plan_setting *s, struct buf *out) {
    for (size_t i = 0; s->path[i] != NULL; i++) {
        bool plain = s->path[i][0] != '\0' && strchr(s->path[i], '.') == NULL;
        buf_addf(out, "%s%s%s%s", i > 0 ? "." : "", plain ? "" : "\"", s->path[i], plain ? "" : "\"");
    }
}

/// yajl wants an object where dockerd takes an empty file.
static void fill_empty(enum conf_format format, struct buf *text) {
    for (size_t i = 0; i < text->len; i++)
        if (!isspace((unsigned char)text->data[i]))
            return;
    if (format != CONF_JSON)
        return;
    buf_clear(text);
    buf_adds(text, "{}\n");
}

static enum conf_edit apply(const struct plan_file *f, const struct plan_setting *s, struct buf *text,
                            struct err *err) {
    const char *const *path = (const char *const *)s->path;
    if (s->value == NULL)
        return conf_remove(f->format, text, path, err);
    return conf_set(f->format, text, path, s->value, s->comment[0] != '\0' ? s->comment : NULL, err);
}

static bool unsafe(const struct plan_setting *s, struct err *err) {
    struct buf words;
    buf_init(&words, ERR_TEXT_MAX);
    plan_path_words(s, &words);
    err_prefix(err, "%s: ", words.data);
    buf_deinit(&words);
    return false;
}

/// A text that does not parse is told as such, and not as what could not be set in it.
static bool parses(const struct plan_file *f, const struct buf *text, struct err *err) {
    struct conf_document *d = conf_parse(f->format, text->data != NULL ? text->data : "", text->len, err);
    conf_free(d);
    return d != NULL || err_prefix(err, "it cannot be read: ");
}

static bool apply_all(const struct plan_file *f, bool strict, struct buf *text, bool *changed, struct err *err) {
    for (size_t i = 0; i < f->count; i++) {
        const struct plan_setting *s = &f->settings[i];
        if (s->strict_only && !strict)
            continue;
        enum conf_edit result = apply(f, s, text, err);
        if (result == CONF_UNSAFE)
            return unsafe(s, err);
        *changed = *changed || result == CONF_CHANGED;
    }
    return true;
}

/// What --strict would change in `text`, which stays as it is.
static void tell_left(const struct plan_file *f, const struct buf *text, struct buf *left) {
    struct buf scratch;
    buf_init(&scratch, CONF_TEXT_MAX);
    for (size_t i = 0; i < f->count; i++) {
        const struct plan_setting *s = &f->settings[i];
        if (!s->strict_only)
            continue;
        buf_clear(&scratch);
        buf_add(&scratch, text->data, text->len);
        if (apply(f, s, &scratch, NULL) == CONF_SAME)
            continue;
        plan_path_words(s, left);
        buf_addf(left, ": %s\n", s->comment);
    }
    buf_deinit(&scratch);
}

enum conf_edit plan_merge(const struct plan_file *f, bool strict, struct buf *text, struct buf *left, struct err *err) {
    struct buf work;
    buf_init(&work, CONF_TEXT_MAX);
    buf_add(&work, text->data != NULL ? text->data : "", text->len);
    bool changed = false;
    fill_empty(f->format, &work);
    bool fits = !work.overflow && !text->overflow;
    if (!fits || !parses(f, &work, err) || !apply_all(f, strict, &work, &changed, err)) {
        if (!fits)
            err_set(err, "it is longer than %d bytes", (int)CONF_TEXT_MAX);
        buf_deinit(&work);
        return CONF_UNSAFE;
    }
    if (!strict)
        tell_left(f, &work, left);
    if (changed) {
        buf_clear(text);
        buf_add(text, work.data, work.len);
    }
    buf_deinit(&work);
    return changed ? CONF_CHANGED : CONF_SAME;
}

bool plan_fresh(const struct plan_file *f, struct buf *text, struct err *err) {
    struct buf left;
    buf_init(&left, CONF_TEXT_MAX);
    enum conf_edit result = plan_merge(f, false, text, &left, err);
    buf_deinit(&left);
    return result != CONF_UNSAFE;
}

// --- marked lines ---

/// The line that begins with `word`, at or after `from`; NULL when there is none.
static const char *find_line(const char *from, const char *word) {
    for (const char *at = from; (at = strstr(at, word)) != NULL; at++)
        if (at == from || at[-1] == '\n')
            return at;
    return NULL;
}

static const char *after_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end != NULL ? end + 1 : line + strlen(line);
}

static void add_block(struct buf *out, const char *block) {
    if (block[0] == '\0')
        return;
    buf_adds(out, begin_mark);
    buf_adds(out, block);
    buf_adds(out, block[strlen(block) - 1] == '\n' ? "" : "\n");
    buf_adds(out, end_mark);
}

bool plan_merge_block(const char *block, struct buf *text, struct err *err) {
    const char *old = text->data != NULL ? text->data : "";
    if (strlen(old) != text->len)
        return err_set(err, "it holds a NUL");
    const char *begin = find_line(old, begin_word);
    const char *end = begin != NULL ? find_line(after_line(begin), end_word) : NULL;
    if (begin == NULL && find_line(old, end_word) != NULL)
        return err_set(err, "it has the mark \"%s\" without the one that begins", end_word);
    if (begin != NULL && end == NULL)
        return err_set(err, "it has the mark \"%s\" without the one that ends", begin_word);
    struct buf out;
    buf_init(&out, CONF_TEXT_MAX);
    buf_add(&out, old, begin != NULL ? (size_t)(begin - old) : text->len);
    if (begin == NULL && out.len > 0 && out.data[out.len - 1] != '\n' && block[0] != '\0')
        buf_adds(&out, "\n");
    add_block(&out, block);
    if (begin != NULL)
        buf_adds(&out, after_line(end));
    bool fits = !out.overflow && !text->overflow;
    if (fits) {
        buf_clear(text);
        buf_add(text, out.data != NULL ? out.data : "", out.len);
    }
    buf_deinit(&out);
    return fits || err_set(err, "it is longer than %d bytes", (int)CONF_TEXT_MAX);
}

// --- others' lines that win over the block ---

/// "ADDRESS NAME...": has it one of the names of "10.0.0.5,ghcr.io,…", at another address?
static bool is_rival(const char *line, const char *names) {
    char *words = mem_strndup(line, strcspn(line, "#\n")), *rest = NULL;
    size_t len = strcspn(names, ",");
    for (char *c = words; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *word = strtok_r(words, " \t\r", &rest);
    bool elsewhere = word != NULL && (strlen(word) != len || strncmp(word, names, len) != 0), has = false;
    while (elsewhere && !has && (word = strtok_r(NULL, " \t\r", &rest)) != NULL)
        has = list_holds(names, word);
    free(words);
    return has;
}

void plan_merge_rivals(const char *names, bool strict, struct buf *text, struct buf *left) {
    struct buf out;
    bool inside = false;
    buf_init(&out, CONF_TEXT_MAX);
    for (const char *at = text->data != NULL ? text->data : ""; *at != '\0'; at = after_line(at)) {
        size_t len = (size_t)(after_line(at) - at);
        bool begins = strncmp(at, begin_word, strlen(begin_word)) == 0;
        inside = (inside || begins) && strncmp(at, end_word, strlen(end_word)) != 0;
        bool rival = !inside && is_rival(at, names);
        if (rival && !strict)
            buf_addf(left, "\"%.*s\" leads a registry's name elsewhere\n", (int)strcspn(at, "#\r\n"), at);
        if (rival && strict)
            buf_adds(&out, "# taken out by pullgate: ");
        buf_add(&out, at, len);
    }
    if (strict && !out.overflow) {
        buf_clear(text);
        buf_add(text, out.data != NULL ? out.data : "", out.len);
    }
    buf_deinit(&out);
}
