// SPDX-License-Identifier: Apache-2.0
//
// `pullgate store`: look after what is kept. The running gateway does it where there is one, else this process.

#include "gateway/commands/commands.h"

#include "gateway/commands/store_print.h"
#include "gateway/config/reader.h"
#include "gateway/upkeep/service.h"
#include "mirrors/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: pullgate store COMMAND [--config FILE] [OPTIONS]\n"
    "\n"
    "Look after what the gateway keeps. It works beside a running gateway, which then does the work, and without one.\n"
    "\n"
    "  ls [PATTERN...]             list the tags that are held; patterns are written as in rules\n"
    "      --digests               list every digest instead, with its repository\n"
    "  stat                        say how much is held, and how much room there is\n"
    "  verify                      read everything that is held and compare it with its digest\n"
    "      --rate SIZE             at most so many bytes a second, such as 50MiB\n"
    "  rm PATTERN...               forget tags or whole repositories; content goes when nothing holds it any longer\n"
    "      --dry-run               only say what would go\n"
    "  warm IMAGE... | -           fetch images ahead of need, by the rules that hold for everyone ('-': names from\n"
    "                              standard input, one a line)\n"
    "      --platform OS/ARCH[,..] only these platforms of an index (default: all of them)\n"
    "  export IMAGE... FILE        write images that are held into an OCI image layout, as a tar\n"
    "  import FILE                 take images from such a file; each digest is verified. Whoever does this vouches "
    "that\n"
    "                              the repositories hold them\n"
    "      --as REGISTRY/REPO      the repository of images whose full name the file does not say\n"
    "\n"
    "  --config FILE               the configuration that the gateway runs with\n"
    "  --json                      print JSON, one object a line\n"
    "\n"
    "Exit status: 0 done, 1 something of it could not be done (or, for verify, was wrong), 2 options, files or the\n"
    "configuration are not usable.\n"
    "\n"
    "Examples:\n"
    "  pullgate store ls 'docker.io/library/**'\n"
    "  pullgate store warm --platform linux/amd64,linux/arm64 alpine:3.20 ghcr.io/org/app:v3\n"
    "  pullgate store rm 'ghcr.io/org/app:v1*'\n"
    "  pullgate store export alpine:3.20 alpine.tar\n";

enum { RATE_MAX = 1 << 30, STDIN_LINE_MAX = 4096 };

struct options {
    const char *command, *config, *platforms, *as, *rate;
    bool digests, dry_run, json;
    char **words;
    int word_count;
};

// --- the request ---

static void add_string(struct buf *b, const char *key, const char *value) {
    buf_addf(b, ",\"%s\":", key);
    buf_add_json(b, value, strlen(value));
}

static void add_word(struct buf *b, const char *word, size_t *count) {
    if ((*count)++ > 0)
        buf_adds(b, ",");
    buf_add_json(b, word, strlen(word));
}

static void add_stdin(struct buf *b, size_t *count) {
    char line[STDIN_LINE_MAX];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, " \t\r\n#")] = '\0';
        if (line[0] != '\0')
            add_word(b, line, count);
    }
}

static void add_words(struct buf *b, const struct options *o) {
    size_t count = 0;
    buf_adds(b, ",\"words\":[");
    for (int i = 0; i < o->word_count; i++) {
        if (strcmp(o->words[i], "-") == 0)
            add_stdin(b, &count);
        else
            add_word(b, o->words[i], &count);
    }
    buf_adds(b, "]");
}

static void add_platforms(struct buf *b, const char *list) {
    size_t count = 0;
    buf_adds(b, ",\"platforms\":[");
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        if (len > 0) {
            if (count++ > 0)
                buf_adds(b, ",");
            buf_add_json(b, list, len);
        }
        list += len + (list[len] == ',');
    }
    buf_adds(b, "]");
}

static bool make_request(struct buf *b, const struct options *o, struct err *err) {
    uint64_t rate = 0;
    buf_init(b, UPKEEP_REQUEST_MAX - 1);
    buf_adds(b, "{\"command\":");
    buf_add_json(b, o->command, strlen(o->command));
    if (o->rate != NULL && (!size_parse(o->rate, &rate) || rate == 0))
        return err_set(err, "--rate %s: a size such as 50MiB was expected", o->rate);
    buf_addf(b, ",\"rate\":%llu,\"digests\":%s,\"dry_run\":%s", (unsigned long long)rate, o->digests ? "true" : "false",
             o->dry_run ? "true" : "false");
    if (o->as != NULL)
        add_string(b, "as", o->as);
    add_words(b, o);
    if (o->platforms != NULL)
        add_platforms(b, o->platforms);
    buf_adds(b, "}");
    return !b->overflow || err_set(err, "so many names do not go into one command");
}

// --- without a gateway ---

static struct config *same_config(void *ctx) {
    return config_ref(ctx);
}

static bool say_here(void *ctx, const char *line) {
    return store_print(ctx, line);
}

static void tell_event(void *ctx, const char *event, const char *sentence) {
    fprintf(stderr, "pullgate: %s: %s\n", event, sentence);
}

static bool run_here(struct config *c, const char *request, int fd, struct store_printer *printer, struct err *err) {
    struct store_settings settings = upkeep_settings(c);
    settings.event = tell_event;
    struct store *store = store_open(&settings, err);
    if (store == NULL)
        return false;
    struct fetcher *fetcher = fetcher_new(1, err);
    if (fetcher != NULL) {
        struct content *content = content_new(fetcher, store);
        struct upkeep u = {store, content, same_config, c};
        upkeep_run(&u, request, strlen(request), fd, say_here, printer);
        content_settle(content);
        store_close(store);
        fetcher_free(fetcher);
        content_free(content);
        return true;
    }
    store_close(store);
    return false;
}

// --- the whole ---

static int fail(const struct err *err) {
    fprintf(stderr, "pullgate: %s\n", err->text);
    return EXIT_UNUSABLE;
}

static int run_request(struct config *c, const struct options *o, const char *request, int fd) {
    struct err err = {""};
    struct store_printer printer;
    store_print_begin(&printer, o->command, o->json);
    enum service_answer answer = service_ask(c->store.directory, request, fd, say_here, &printer, &err);
    bool ok = answer == SERVICE_ANSWERED || (answer == SERVICE_NOBODY && run_here(c, request, fd, &printer, &err));
    bool done = store_print_end(&printer);
    if (!ok)
        return fail(&err);
    if (printer.unusable)
        return EXIT_UNUSABLE;
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

/// The file of export and import: the last word.
static bool open_file(struct options *o, int *fd, struct err *err) {
    bool out = strcmp(o->command, "export") == 0, in = strcmp(o->command, "import") == 0;
    *fd = -1;
    if (!out && !in)
        return true;
    if (o->word_count < (out ? 2 : 1))
        return err_set(err, out ? "say which images, and into which file" : "say from which file");
    const char *path = o->words[--o->word_count];
    *fd = out ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : open(path, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 || err_set(err, "%s: %s", path, strerror(errno));
}

/// What needs names has some, and what takes none has none. Patterns are judged by whoever does the work.
static bool words_fit(const struct options *o, struct err *err) {
    bool none = strcmp(o->command, "stat") == 0 || strcmp(o->command, "verify") == 0;
    if (none && o->word_count > 0)
        return err_set(err, "store %s takes no names", o->command);
    if (strcmp(o->command, "warm") == 0 && o->word_count == 0)
        return err_set(err, "say which images are to be fetched ('-': names from standard input)");
    return true;
}

static int run(struct options *o) {
    struct err err = {""};
    struct buf request;
    int fd, status;
    if (!words_fit(o, &err))
        return fail(&err);
    signal(SIGPIPE, SIG_IGN);
    struct config *c = config_load(o->config, NULL, &err);
    if (c == NULL)
        return fail(&err);
    if (!c->store.enabled) {
        err_set(&err, "\"store\" is null in the configuration: nothing is kept");
        config_unref(c);
        return fail(&err);
    }
    if (!open_file(o, &fd, &err)) {
        config_unref(c);
        return fail(&err);
    }
    status = make_request(&request, o, &err) ? run_request(c, o, request.data, fd) : fail(&err);
    if (fd >= 0 && close(fd) != 0 && status == EXIT_SUCCESS)
        status = EXIT_FAILURE;
    buf_deinit(&request);
    config_unref(c);
    return status;
}

static bool is_command(const char *name) {
    static const char *const names[] = {"ls", "stat", "verify", "rm", "warm", "export", "import"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

int command_store(int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"digests", no_argument, NULL, 'd'},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"platform", required_argument, NULL, 'p'},
                                            {"as", required_argument, NULL, 'a'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct options o = {0};
    for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            o.config = optarg;
            break;
        case 'j':
            o.json = true;
            break;
        case 'd':
            o.digests = true;
            break;
        case 'n':
            o.dry_run = true;
            break;
        case 'r':
            o.rate = optarg;
            break;
        case 'p':
            o.platforms = optarg;
            break;
        case 'a':
            o.as = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        default:
            return command_usage(argv[0]);
        }
    }
    if (optind == argc || !is_command(argv[optind]))
        return command_usage(argv[0]);
    o.command = argv[optind];
    o.words = argv + optind + 1;
    o.word_count = argc - optind - 1;
    return run(&o);
}
