// SPDX-License-Identifier: Apache-2.0
//
// `pullgate explain`: what would happen to an image, and why. Offline: it decides with the same functions as a request.
//
// An image is printed as text for a person or as one JSON object a line.

#include "gateway/commands/commands.h"

#include "gateway/config/reader.h"
#include "gateway/config/verdict.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXPLANATION_MAX = 4 * 1024 * 1024, IMAGE_LINE_MAX = 4096, GROUPS_MAX = 64 };

static const char help[] =
    "Usage: pullgate explain [--config FILE] [--action pull|push] [--at TIME] [--as WHO] [--json] IMAGE... | -\n"
    "\n"
    "Say for each image whether it may be pulled, which rule decided, what a denied client reads, and which hosts a "
    "pull\n"
    "may touch. Nobody is contacted. Without --config the built-in defaults are asked.\n"
    "\n"
    "  --config FILE   the configuration\n"
    "  --action NAME   pull (the default) or push\n"
    "  --at TIME       decide as if it were this moment: 2027-03-31T00:00:00Z\n"
    "  --as WHO        decide for this asker: user:alice or cert:ci.example.com (default: nobody known)\n"
    "  --groups A,B    groups that the asker's token or certificate names\n"
    "  --from ADDRESS  the asker's address\n"
    "  --json          print one JSON object a line, one for each image\n"
    "  -               read images from standard input, one a line\n"
    "\n"
    "An image is written as for docker: alpine means docker.io/library/alpine:latest. Whoever asks by digest alone is "
    "let\n"
    "in too where an allowed tag led to that digest; only the running gateway knows that, so explain says so instead.\n"
    "\n"
    "Exit status: 0 all are allowed, 1 at least one is denied, 2 a file, option or name is not usable.\n"
    "\n"
    "Examples:\n"
    "  pullgate explain --config pullgate.json alpine quay.io/org/app:v3\n"
    "  kubectl get pods -A -o jsonpath='{..image}' | tr ' ' '\\n' | pullgate explain --config pullgate.json -\n"
    "  pullgate explain --config pullgate.json --at 2027-04-01T00:00:00Z registry.example.com/legacy/app:1\n";

struct options {
    const char *config;
    const char *action_word;
    enum action action;
    int64_t at;
    struct asker asker;
    const char *groups[GROUPS_MAX];
    bool json;
};

/// One image and what is said of it.
struct explanation {
    struct image_name name;
    bool latest; ///< No tag and no digest were given.
    char image[IMAGE_TEXT_MAX + 1];
    struct verdict verdict;
    const char *rule, *owner;                  ///< NULL: none.
    const char *would_rule;                    ///< A monitored rule that matched.
    char sentence[DENIAL_SENTENCE_MAX + 1];    ///< Where it is, or would be, denied.
    char endpoint_asked[REGISTRY_MAX + 1 + 8]; ///< Where the registry has no endpoints: https://NAME.
};

// --- deciding ---

static void explain(const struct config *c, const struct options *o, struct explanation *e) {
    struct question q = {
        .registry = e->name.registry,
        .repository = e->name.repository,
        .tag = e->name.tag[0] != '\0' ? e->name.tag : NULL,
        .digest = e->name.digest[0] != '\0' ? e->name.digest : NULL,
        .action = o->action,
        .asker = &o->asker,
        .now = o->at,
    };
    config_verdict(c, &q, NULL, NULL, &e->verdict);
    const struct decision *d = &e->verdict.decision;
    question_format(&q, e->image);
    snprintf(e->endpoint_asked, sizeof e->endpoint_asked, "https://%s", e->name.registry);
    e->rule = e->verdict.rule;
    e->owner = d->rule != DECISION_NO_RULE ? policy_rule_owner(c->policy, d->rule) : NULL;
    e->would_rule = d->would != DECISION_NO_RULE ? policy_rule_name(c->policy, d->would) : NULL;
    if (!d->allow)
        config_sentence(c, &e->verdict, &q, "ID", e->sentence);
}

static bool parse_image(const struct config *c, const char *text, struct explanation *e, struct err *err) {
    *e = (struct explanation){0};
    if (!name_parse(text, c->default_registry, &e->name, err))
        return false;
    e->latest = e->name.tag[0] == '\0' && e->name.digest[0] == '\0';
    if (e->latest)
        strcpy(e->name.tag, "latest");
    return true;
}

static const char *why(const struct explanation *e) {
    switch (e->verdict.decision.reason) {
    case DECIDED_BY_RULE:
        return "a rule";
    case DECIDED_NO_RULE:
        return e->verdict.decision.others ? "no rule matches this asker: others are allowed" : "no rule matches";
    case DECIDED_REGISTRIES_ONLY:
        return "there are no rules: every listed registry may be pulled from";
    case DECIDED_NOT_LISTED:
        return "the registry is not listed";
    case DECIDED_CANARY:
        return "the canary is denied always, whatever the rules say";
    case DECIDED_LINK:
        return "an allowed tag led to this digest";
    case DECIDED_NO_LINK:
        return "the rules are limited to tags or digests: it may be pulled once an allowed tag has led to it";
    case DECIDED_ACTION:
        return "only pulls are possible";
    }
    return "";
}

static bool is_shared(const struct registry *r, const char *host) {
    for (size_t i = 0; i < r->shared_host_count; i++)
        if (strcmp(r->shared_hosts[i], host) == 0)
            return true;
    return false;
}

// --- as text ---

static void print_label(const char *label, bool first) {
    printf("  %-15s ", first ? label : "");
}

static void print_hosts(const char *label, const struct registry *r, char *const *hosts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        print_label(label, i == 0);
        printf("%s%s\n", hosts[i], is_shared(r, hosts[i]) ? "   (shared: strangers have content there too)" : "");
    }
}

static const char *credential_of(const struct registry *r, const struct endpoint *e, const char *repository) {
    const struct credential *credential = e->credential;
    if (credential == NULL && e->own_host)
        credential = registry_credential(r, repository);
    return credential != NULL ? credential->name : NULL;
}

static void print_endpoints(const struct explanation *e, const struct registry *r) {
    for (size_t i = 0; i < r->endpoint_count; i++) {
        const struct endpoint *at = &r->endpoints[i];
        const char *credential = credential_of(r, at, e->name.repository);
        print_label("endpoints", i == 0);
        printf("%s%s%s%s%s%s\n", at->base, at->path[0] != '\0' ? "/" : "", at->path,
               credential != NULL ? "   (with credential " : "", credential != NULL ? credential : "",
               credential != NULL ? ")" : "");
    }
    if (r->endpoint_count > 0)
        return;
    const struct credential *credential = registry_credential(r, e->name.repository);
    print_label("endpoints", true);
    printf("%s%s%s%s\n", e->endpoint_asked, credential != NULL ? "   (with credential " : "",
           credential != NULL ? credential->name : "", credential != NULL ? ")" : "");
}

static void print_reach(const struct explanation *e, const struct registry *r) {
    print_endpoints(e, r);
    print_hosts("realm hosts", r, r->realm_hosts, r->realm_host_count);
    print_hosts("redirect hosts", r, r->redirect_hosts, r->redirect_host_count);
    print_hosts("external urls", r, r->external_urls, r->external_url_count);
    if (r->proxy != NULL) {
        const char *at = strrchr(r->proxy, '@');
        print_label("proxy", true);
        printf("%s\n", at != NULL ? at + 1 : r->proxy);
    }
}

static void print_text(const struct explanation *e) {
    const struct verdict *v = &e->verdict;
    printf("%s%s\n", e->image, e->latest ? "   (no tag was given, which means latest)" : "");
    print_label(v->allow ? "allowed" : "denied", true);
    if (v->would_deny)
        printf("because mode is \"monitor\", which only logs what would be denied\n");
    if (v->would_deny)
        print_label("would be denied", true);
    if (e->rule != NULL)
        printf("by rule %s%s%s\n", e->rule, e->owner != NULL ? ", owner " : "", e->owner != NULL ? e->owner : "");
    else
        printf("%s\n", why(e));
    if (e->would_rule != NULL)
        printf("  %-15s %s rule %s, which is monitored only\n", "",
               v->decision.would_allow ? "allowed by" : "denied by", e->would_rule);
    if (e->sentence[0] != '\0')
        printf("  %-15s %s\n", v->allow ? "would read" : "client reads", e->sentence);
    if (v->allow)
        print_reach(e, v->registry);
}

// --- as JSON ---

static void add_string(struct buf *b, const char *key, const char *value) {
    buf_addf(b, ",\"%s\":", key);
    if (value == NULL)
        buf_adds(b, "null");
    else
        buf_add_json(b, value, strlen(value));
}

static void add_hosts(struct buf *b, const char *key, char *const *hosts, size_t count) {
    buf_addf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        buf_adds(b, i > 0 ? "," : "");
        buf_add_json(b, hosts[i], strlen(hosts[i]));
    }
    buf_adds(b, "]");
}

static void add_endpoints(struct buf *b, const struct explanation *e, const struct registry *r) {
    buf_adds(b, ",\"endpoints\":[");
    for (size_t i = 0; i < r->endpoint_count; i++) {
        const struct endpoint *at = &r->endpoints[i];
        char *url = mem_printf("%s%s%s", at->base, at->path[0] != '\0' ? "/" : "", at->path);
        buf_adds(b, i > 0 ? "," : "");
        buf_add_json(b, url, strlen(url));
        free(url);
    }
    if (r->endpoint_count == 0)
        buf_add_json(b, e->endpoint_asked, strlen(e->endpoint_asked));
    buf_adds(b, "]");
}

static void print_json(const struct explanation *e, const char *action) {
    const struct verdict *v = &e->verdict;
    struct buf b;
    buf_init(&b, EXPLANATION_MAX);
    buf_adds(&b, "{\"image\":");
    buf_add_json(&b, e->image, strlen(e->image));
    add_string(&b, "action", action);
    add_string(&b, "decision", v->allow ? "allow" : "deny");
    add_string(&b, "reason", v->reason == REASON_NONE ? NULL : denial_reason_word(v->reason));
    add_string(&b, "why", why(e));
    add_string(&b, "rule", e->rule);
    add_string(&b, "owner", e->owner);
    add_string(&b, "would", v->would_deny ? "deny" : NULL);
    add_string(&b, "would_rule", e->would_rule);
    add_string(&b, "message", e->sentence[0] != '\0' ? e->sentence : NULL);
    buf_addf(&b, ",\"latest_assumed\":%s", e->latest ? "true" : "false");
    if (v->allow) {
        const struct registry *r = v->registry;
        add_endpoints(&b, e, r);
        add_hosts(&b, "realm_hosts", r->realm_hosts, r->realm_host_count);
        add_hosts(&b, "redirect_hosts", r->redirect_hosts, r->redirect_host_count);
        add_hosts(&b, "shared_hosts", r->shared_hosts, r->shared_host_count);
        add_hosts(&b, "external_urls", r->external_urls, r->external_url_count);
    }
    printf("%s}\n", b.data);
    buf_deinit(&b);
}

// --- the images ---

static int worse(int a, int b) {
    return a > b ? a : b;
}

static int explain_image(const struct config *c, const struct options *o, const char *text) {
    struct explanation e;
    struct err err = {0};
    if (!parse_image(c, text, &e, &err)) {
        fprintf(stderr, "pullgate explain: %s\n", err.text);
        return EXIT_UNUSABLE;
    }
    explain(c, o, &e);
    if (o->json)
        print_json(&e, o->action_word);
    else
        print_text(&e);
    return e.verdict.allow ? EXIT_SUCCESS : EXIT_FAILURE;
}

static char *trim(char *line) {
    while (isspace((unsigned char)*line))
        line++;
    size_t len = strlen(line);
    while (len > 0 && isspace((unsigned char)line[len - 1]))
        line[--len] = '\0';
    return line;
}

/// Empty lines are skipped; an overlong one is no image's name.
static int explain_input(const struct config *c, const struct options *o) {
    char *line = NULL;
    size_t room = 0;
    int status = EXIT_SUCCESS;
    while (getline(&line, &room, stdin) >= 0) {
        char *image = trim(line);
        if (strlen(image) > IMAGE_LINE_MAX)
            image[IMAGE_LINE_MAX] = '\0';
        if (image[0] != '\0')
            status = worse(status, explain_image(c, o, image));
    }
    free(line);
    return status;
}

static int explain_all(const struct config *c, const struct options *o, char *const *images) {
    int status = EXIT_SUCCESS;
    for (; *images != NULL; images++) {
        bool input = strcmp(*images, "-") == 0;
        status = worse(status, input ? explain_input(c, o) : explain_image(c, o, *images));
    }
    return status;
}

static bool read_action(struct options *o, const char *word) {
    o->action_word = word;
    o->action = strcmp(word, "push") == 0 ? ACTION_PUSH : ACTION_PULL;
    if (o->action == ACTION_PUSH || strcmp(word, "pull") == 0)
        return true;
    fprintf(stderr, "pullgate explain: --action: expected pull or push, found \"%s\"\n", word);
    return false;
}

static bool read_at(struct options *o, const char *text) {
    if (time_parse(text, &o->at))
        return true;
    fprintf(stderr, "pullgate explain: --at: expected a moment such as 2027-03-31T00:00:00Z, found \"%s\"\n", text);
    return false;
}

static bool read_as(struct options *o, const char *text) {
    o->asker.name = text;
    if (strncmp(text, "user:", 5) == 0 || strncmp(text, "cert:", 5) == 0)
        return true;
    fprintf(stderr, "pullgate explain: --as: expected user:NAME or cert:NAME, found \"%s\"\n", text);
    return false;
}

/// The list is cut up where it stands.
static bool read_groups(struct options *o, char *text) {
    o->asker.groups = o->groups;
    for (char *name = strtok(text, ","); name != NULL; name = strtok(NULL, ",")) {
        if (o->asker.group_count == GROUPS_MAX) {
            fprintf(stderr, "pullgate explain: --groups: at most %d\n", (int)GROUPS_MAX);
            return false;
        }
        o->groups[o->asker.group_count++] = name;
    }
    return true;
}

static bool read_from(struct options *o, const char *text) {
    o->asker.has_address = address_from_text(text, o->asker.address);
    if (!o->asker.has_address)
        fprintf(stderr, "pullgate explain: --from: expected an address such as 10.2.3.4, found \"%s\"\n", text);
    return o->asker.has_address;
}

/// What getopt_long() found; false when it cannot be used.
static bool read_option(struct options *o, int option) {
    switch (option) {
    case 'c':
        o->config = optarg;
        return true;
    case 'a':
        return read_action(o, optarg);
    case 't':
        return read_at(o, optarg);
    case 's':
        return read_as(o, optarg);
    case 'g':
        return read_groups(o, optarg);
    case 'f':
        return read_from(o, optarg);
    case 'j':
        o->json = true;
        return true;
    default:
        return false;
    }
}

int command_explain(int argc, char **argv) {
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"action", required_argument, NULL, 'a'},
                                          {"at", required_argument, NULL, 't'},
                                          {"as", required_argument, NULL, 's'},
                                          {"groups", required_argument, NULL, 'g'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options o = {.action = ACTION_PULL, .action_word = "pull", .at = (int64_t)time(NULL)};
    struct err err = {0};
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (!read_option(&o, option))
            return command_usage("explain");
    }
    if (optind == argc) {
        fprintf(stderr, "pullgate explain: name at least one image, or - to read them from standard input\n");
        return command_usage("explain");
    }
    struct config *c = config_load(o.config, NULL, &err);
    if (c == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_UNUSABLE;
    }
    int status = explain_all(c, &o, argv + optind);
    config_unref(c);
    return status;
}
