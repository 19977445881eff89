// SPDX-License-Identifier: Apache-2.0
//
// "rules": from the file to the policy's rule_specs. What a pattern means is the policy's business.
//
// The specs point into the JSON tree and into `struct rules`; policy_new() copies what it keeps.

#include "gateway/config/loading.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

/// One rule while it is read; the strings are its own.
struct rule_draft {
    struct rule_spec spec;
    const struct json *allow, *deny;
    const char **patterns, **who;
    char *name, *message, *owner, *note;
};

struct rules {
    struct rule_draft *list;
    size_t count;
};

static void rule_deinit(struct rule_draft *d) {
    free(d->patterns);
    free(d->who);
    free(d->name);
    free(d->message);
    free(d->owner);
    free(d->note);
}

// --- the keys ---

static bool read_pattern(struct reader *r, const struct json *value, void *into) {
    struct rule_draft *d = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "a pattern such as \"docker.io/library/**\"", value);
    d->patterns[d->spec.pattern_count++] = value->string;
    return true;
}

static bool read_patterns(struct reader *r, const struct json *value, struct rule_draft *d) {
    if (value->count == 0)
        return read_fail(r, "expected at least one pattern");
    if (d->patterns != NULL) // The second of `allow` and `deny`: read_rule() says so.
        return true;
    d->patterns = mem_zalloc(value->count, sizeof *d->patterns);
    return read_each(r, value, read_pattern, d);
}

static bool read_allow(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    d->allow = value;
    d->spec.allow = true;
    return read_patterns(r, value, d);
}

static bool read_deny(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    d->deny = value;
    return read_patterns(r, value, d);
}

static bool read_rule_name(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    return read_name(r, value, &d->name);
}

static bool read_action(struct reader *r, const struct json *value, void *into) {
    static const char *const words[] = {"pull", "push", "delete", "list", NULL};
    static const unsigned actions[] = {ACTION_PULL, ACTION_PUSH, ACTION_DELETE, ACTION_LIST};
    struct rule_draft *d = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    if (d->allow != NULL && (actions[word] == ACTION_PUSH || actions[word] == ACTION_DELETE))
        return read_fail(r, "a rule cannot allow %s yet: it comes with a later version of pullgate", words[word]);
    d->spec.actions |= actions[word];
    return true;
}

static bool read_actions(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    if (value->count == 0)
        return read_fail(r, "expected at least one action; leave the key out for the usual ones");
    return read_each(r, value, read_action, into);
}

static bool read_one_who(struct reader *r, const struct json *value, void *into) {
    struct rule_draft *d = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "\"user:NAME\", \"group:NAME\", \"cert:NAME\", \"address:BLOCK\" or \"anyone\"", value);
    d->who[d->spec.who_count++] = value->string;
    return true;
}

static bool read_who(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    if (value->count == 0 || value->count > MEMBERS_MAX)
        return read_fail(r, "expected 1 to %d members, found %zu; leave the key out for everyone", MEMBERS_MAX,
                         value->count);
    d->who = mem_zalloc(value->count, sizeof *d->who);
    return read_each(r, value, read_one_who, d);
}

static bool read_rule_message(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    return read_message(r, value, &d->message);
}

static bool read_owner(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    return read_line(r, value, READER_LINE_MAX, &d->owner);
}

static bool read_note(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    return read_line(r, value, READER_LINE_MAX, &d->note);
}

static bool read_expires(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct rule_draft *d = into;
    if (time_parse(value->string, &d->spec.expires))
        return true;
    return read_fail(r, "expected %s, found \"%.40s\"", key->expected, value->string);
}

static bool read_rule_mode(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const char *const words[] = {"enforce", "monitor", NULL};
    struct rule_draft *d = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    d->spec.monitor = word == 1;
    return true;
}

const struct read_key rule_keys[] = {
    {.name = "allow", .takes = TAKES_LIST, .expected = "a list of patterns", .read = read_allow},
    {.name = "deny", .takes = TAKES_LIST, .expected = "a list of patterns", .read = read_deny},
    {.name = "name", .takes = TAKES_STRING, .expected = "a name", .read = read_rule_name},
    {.name = "actions",
     .takes = TAKES_LIST,
     .expected = "a list of \"pull\", \"push\", \"delete\", \"list\"",
     .read = read_actions},
    {.name = "who",
     .takes = TAKES_LIST,
     .expected = "a list such as [\"user:alice\", \"group:release\"]",
     .read = read_who},
    {.name = "message", .takes = TAKES_STRING, .expected = "a sentence", .read = read_rule_message},
    {.name = "owner", .takes = TAKES_STRING, .expected = "one line", .read = read_owner},
    {.name = "note", .takes = TAKES_STRING, .expected = "one line", .read = read_note},
    {.name = "expires",
     .takes = TAKES_STRING,
     .expected = "a moment such as \"2027-03-31T00:00:00Z\"",
     .read = read_expires},
    {.name = "mode", .takes = TAKES_STRING, .expected = "\"enforce\" or \"monitor\"", .read = read_rule_mode},
    {.name = NULL},
};

// --- the list ---

static bool read_rule(struct reader *r, const struct json *value, void *into) {
    struct rules *rules = into;
    struct rule_draft *d = &rules->list[rules->count++];
    d->spec.expires = INT64_MAX;
    if (!read_object(r, value, rule_keys, d))
        return false;
    if ((d->allow != NULL) == (d->deny != NULL))
        return read_fail(r, "expected exactly one of \"allow\" and \"deny\"");
    d->spec.patterns = d->patterns;
    d->spec.who = d->who;
    d->spec.name = d->name;
    d->spec.message = d->message;
    d->spec.owner = d->owner;
    d->spec.note = d->note;
    return true;
}

struct named {
    const char *name;
    size_t rule;
};

static int by_name(const void *a, const void *b) {
    const struct named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order != 0)
        return order;
    return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static bool check_names(struct reader *r, const struct rules *rules) {
    struct named *names = mem_zalloc(rules->count + 1, sizeof *names);
    size_t count = 0;
    bool ok = true;
    for (size_t i = 0; i < rules->count; i++)
        if (rules->list[i].name != NULL)
            names[count++] = (struct named){.name = rules->list[i].name, .rule = i};
    if (count > 0)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 1; ok && i < count; i++)
        if (strcmp(names[i - 1].name, names[i].name) == 0)
            ok = read_fail(r, "rules[%zu].name: rules[%zu] has the name \"%s\" already", names[i].rule,
                           names[i - 1].rule, names[i].name);
    free(names);
    return ok;
}

/// Which registries a rule opens to whoever reaches the gateway, for the warning about credentials. `list` is what
/// spec.patterns already passed through policy_new(), so every pattern parses.
static void mark_opened_by(struct config *c, const char *text) {
    struct pattern pattern;
    if (!pattern_parse(text, &pattern, NULL))
        return;
    for (size_t i = 0; i < c->registry_count; i++) {
        const char *name = c->registries[i]->name;
        if (!c->registry_origins[i].opened)
            c->registry_origins[i].opened =
                strcmp(pattern.registry, name) == 0 || pattern_match_registry(&pattern, name);
    }
    pattern_deinit(&pattern);
}

static bool has_credentials(const struct registry *r) {
    bool found = r->credential_count > 0;
    for (size_t i = 0; i < r->endpoint_count; i++)
        found = found || r->endpoints[i].credential != NULL;
    return found;
}

static bool speaks_of_anyone(const struct rule_spec *spec) {
    bool anyone = spec->who_count == 0;
    for (size_t i = 0; i < spec->who_count; i++)
        anyone = anyone || strcmp(spec->who[i], "anyone") == 0;
    return anyone;
}

static void mark_opened(struct config *c, const struct rules *rules, bool written) {
    bool needed = false;
    for (size_t i = 0; i < c->registry_count; i++) {
        c->registry_origins[i].opened = !written;
        needed = needed || has_credentials(c->registries[i]);
    }
    for (size_t i = 0; written && needed && i < rules->count; i++) {
        const struct rule_spec *spec = &rules->list[i].spec;
        bool pulls = spec->allow && !spec->monitor && speaks_of_anyone(spec) &&
                     policy_rule_for_anyone(c->policy, (int)i) &&
                     (spec->actions == 0 || (spec->actions & ACTION_PULL) != 0);
        for (size_t k = 0; pulls && k < spec->pattern_count; k++)
            mark_opened_by(c, spec->patterns[k]);
    }
}

static bool compile(struct reader *r, const struct rules *rules, bool written) {
    struct config *c = r->loading->config;
    struct rule_spec *specs = mem_zalloc(rules->count + 1, sizeof *specs);
    const char **names = mem_zalloc(c->registry_count + 1, sizeof *names);
    for (size_t i = 0; i < rules->count; i++)
        specs[i] = rules->list[i].spec;
    for (size_t i = 0; i < c->registry_count; i++)
        names[i] = c->registries[i]->name;
    c->rules_written = written;
    c->policy = policy_new(written ? specs : NULL, rules->count, names, c->registry_count, r->loading->groups,
                           r->loading->group_count, r->err);
    free(specs);
    free(names);
    if (c->policy == NULL)
        return read_fail_again(r);
    mark_opened(c, rules, written);
    return true;
}

bool read_rules(struct reader *r, const struct json *value) {
    struct rules rules = {0};
    bool ok = true;
    if (value != NULL) {
        read_enter_key(r, "rules");
        ok = value->count <= RULES_MAX || read_fail(r, "expected at most %d rules, found %zu", RULES_MAX, value->count);
        rules.list = mem_zalloc(value->count + 1, sizeof *rules.list);
        ok = ok && read_each(r, value, read_rule, &rules);
        read_leave(r);
    }
    ok = ok && check_names(r, &rules) && compile(r, &rules, value != NULL);
    for (size_t i = 0; i < rules.count; i++)
        rule_deinit(&rules.list[i]);
    free(rules.list);
    return ok;
}
