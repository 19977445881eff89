// SPDX-License-Identifier: Apache-2.0
//
// Requests and their lines: what every command of the store shares.

#include "gateway/config/verdict.h"
#include "gateway/upkeep/inside.h"

#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct command {
    const char *name;
    void (*run)(struct task *t);
};

static const struct command commands[] = {
    {"ls", task_ls},     {"stat", task_stat},     {"verify", task_verify}, {"rm", task_rm},
    {"warm", task_warm}, {"export", task_export}, {"import", task_import},
};

static bool keeps(void *ctx, const char *registry, const char *repository, const char *tag) {
    return config_store_keeps(ctx, registry, repository, tag);
}

struct store_settings upkeep_settings(const struct config *c) {
    return (struct store_settings){
        .directory = c->store.directory,
        .max_size = c->store.max_size,
        .min_free = c->store.min_free,
        .keep = keeps,
        .ctx = (void *)c,
    };
}

// --- lines ---

void line_begin(struct buf *b, const char *kind) {
    buf_clear(b);
    buf_addf(b, "{\"%s\":{", kind);
}

static void add_key(struct buf *b, const char *key) {
    buf_addf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", key);
}

void line_string(struct buf *b, const char *key, const char *value) {
    if (value == NULL || value[0] == '\0')
        return;
    add_key(b, key);
    buf_add_json(b, value, strlen(value));
}

void line_number(struct buf *b, const char *key, uint64_t value) {
    add_key(b, key);
    buf_addf(b, "%" PRIu64, value);
}

void line_boolean(struct buf *b, const char *key, bool value) {
    add_key(b, key);
    buf_adds(b, value ? "true" : "false");
}

void line_end(struct buf *b) {
    buf_adds(b, "}}");
}

bool task_say(struct task *t, struct buf *line) {
    if (!t->deaf && !line->overflow)
        t->deaf = !t->say(t->ctx, line->data);
    return !t->deaf;
}

bool task_progress(struct task *t, const char *what, uint64_t done, uint64_t all) {
    struct buf b;
    buf_init(&b, UPKEEP_LINE_MAX);
    line_begin(&b, "progress");
    line_string(&b, "what", what);
    line_number(&b, "done", done);
    line_number(&b, "all", all);
    line_end(&b);
    bool heard = task_say(t, &b);
    buf_deinit(&b);
    return heard;
}

static void say_end(struct task *t) {
    struct buf b;
    buf_init(&b, UPKEEP_LINE_MAX);
    line_begin(&b, "end");
    line_boolean(&b, "ok", !t->failed);
    if (t->unusable)
        line_boolean(&b, "unusable", true);
    line_string(&b, "message", t->end.text);
    line_end(&b);
    task_say(t, &b);
    buf_deinit(&b);
}

// --- requests ---

const char *task_word(const struct task *t, size_t n) {
    const struct json *words = json_get(t->request, "words");
    const struct json *word = words != NULL && words->type == JSON_ARRAY ? words->child : NULL;
    for (; word != NULL && n > 0; word = word->next)
        n--;
    return word != NULL && word->type == JSON_STRING ? word->string : NULL;
}

static bool is_list_of_strings(const struct json *list, size_t max) {
    if (list == NULL)
        return true;
    if (list->type != JSON_ARRAY || list->count > max)
        return false;
    for (const struct json *one = list->child; one != NULL; one = one->next)
        if (one->type != JSON_STRING)
            return false;
    return true;
}

static void run(struct task *t) {
    const char *name = json_get_string(t->request, "command");
    if (!is_list_of_strings(json_get(t->request, "words"), UPKEEP_WORDS_MAX) ||
        !is_list_of_strings(json_get(t->request, "platforms"), UPKEEP_PLATFORMS_MAX)) {
        t->failed = t->unusable = true;
        err_set(&t->end, "at most %d names or patterns and %d platforms can be given", (int)UPKEEP_WORDS_MAX,
                (int)UPKEEP_PLATFORMS_MAX);
        return;
    }
    for (size_t i = 0; name != NULL && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            commands[i].run(t);
            return;
        }
    }
    t->failed = t->unusable = true;
    err_set(&t->end, "this gateway does not know that command; is it of another version?");
}

void upkeep_run(const struct upkeep *u, const char *request, size_t len, int fd, upkeep_say_fn say, void *ctx) {
    struct task t = {.upkeep = u, .fd = fd, .say = say, .ctx = ctx};
    struct json *root = len <= UPKEEP_REQUEST_MAX ? json_parse(request, len, JSON_STRICT, &t.end) : NULL;
    t.request = root;
    t.config = u->config(u->ctx);
    if (root == NULL)
        t.failed = t.unusable = true;
    else
        run(&t);
    say_end(&t);
    config_unref(t.config);
    json_free(root);
}

// --- images ---

struct content_place task_place(struct task *t, const struct registry *registry, const char *name,
                                const char *repository) {
    struct content_place place = {
        .owner = config_owner(t->config),
        .registry = registry,
        .name = name,
        .repository = repository,
        .monitor = t->config->monitor,
        .deadline_ms = t->config->limits.upstream_timeout_s * 1000,
        .connect_timeout_ms = t->config->limits.connect_timeout_s * 1000,
    };
    config_terms(t->config, registry, &place.terms);
    return place;
}

static bool permitted(struct task *t, const struct wanted *w, struct verdict *v, struct err *err) {
    char sentence[DENIAL_SENTENCE_MAX + 1];
    struct question q = {
        .registry = w->name.registry,
        .repository = w->name.repository,
        .tag = w->name.digest[0] == '\0' ? w->name.tag : NULL,
        .digest = w->name.digest[0] != '\0' ? w->name.digest : NULL,
        .action = ACTION_PULL,
        .now = (int64_t)time(NULL),
    };
    config_verdict(t->config, &q, NULL, NULL, v);
    if (v->allow)
        return true;
    config_sentence(t->config, v, &q, "-", sentence);
    return err_set(err, "%s", sentence);
}

bool task_want(struct task *t, const char *text, bool decide, struct wanted *out, struct err *err) {
    struct verdict v;
    memset(out, 0, sizeof(*out));
    if (!name_parse(text, t->config->default_registry, &out->name, err))
        return false;
    if (out->name.tag[0] == '\0' && out->name.digest[0] == '\0')
        strcpy(out->name.tag, "latest");
    name_format(&out->name, out->text);
    if (!decide)
        return true;
    if (!permitted(t, out, &v, err))
        return false;
    out->place = task_place(t, v.registry, out->name.registry, out->name.repository);
    return true;
}

bool task_permits(struct task *t, const struct wanted *w, const char *tag, const char *digest, struct err *err) {
    char sentence[DENIAL_SENTENCE_MAX + 1];
    struct verdict v;
    struct question q = {
        .registry = w->name.registry,
        .repository = w->name.repository,
        .tag = tag,
        .digest = digest,
        .action = ACTION_PULL,
        .now = (int64_t)time(NULL),
    };
    config_verdict(t->config, &q, NULL, NULL, &v);
    if (v.allow || (tag == NULL && !v.decision.by_digest))
        return true;
    config_sentence(t->config, &v, &q, "-", sentence);
    return err_set(err, "%s", sentence);
}
