// SPDX-License-Identifier: Apache-2.0
//
// `pullgate client`: the configuration that makes a container client use the gateway and nothing else, printed, or
// written into what is there.

#include "gateway/commands/client_site.h"
#include "gateway/commands/commands.h"

#include "gateway/clients/clients.h"
#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: pullgate client NAME... [--gateway URL | --config FILE | --site FILE] [OPTIONS] [--write [--root DIR]]\n"
    "\n"
    "Print the configuration that makes a container client use the gateway and nothing else, or write it into what is\n"
    "there. What stays open in that client is told at the end. Written twice, it changes nothing.\n"
    "\n";

static const char help_options[] =
    "\n"
    "The site:\n"
    "  --gateway URL      ask this gateway for it (with --config or --site: the address that clients are given)\n"
    "  --config FILE      take it from the gateway's configuration\n"
    "  --site FILE        take it from a file: what GET /pullgate/v1/site answered\n"
    "  Without any of them: /etc/pullgate/client.json, which an earlier --write left.\n"
    "\n"
    "This machine:\n"
    "  --ca FILE          the authority of the gateway's certificate; --write copies it to /etc/pullgate/ca.crt\n"
    "  --certificate FILE --key FILE\n"
    "                     what this machine shows the gateway; absolute paths on the client machine\n"
    "  --header 'N: V'    a header with every request, where the client can send one; may be repeated\n"
    "  --proxy URL        the gateway's listener that refuses CONNECT, if the site does not name it\n"
    "\n"
    "How:\n"
    "  --write            write it; the old text stays beside each file as NAME.pullgate-backup\n"
    "  --quiet            --write: tell only what changed, what could not be done, and what to run because of it\n"
    "  --json             --write: tell it as one JSON object (\"changed\", \"files\", \"run\", \"open\", \"notes\")\n"
    "  --strict           also take out what would lead past the gateway (old mirrors, folders of single registries)\n"
    "  --root DIR         a tree that stands for /: of an image, of a machine that is being prepared\n"
    "  --takeover         docker: lead registries' own names to the gateway by the hosts file; --write remembers it\n"
    "  --no-takeover      docker: no longer\n"
    "  --address ADDRESS  --takeover, firewall, wsl: the gateway's address, if it cannot be looked up here\n"
    "  --docker-version V docker: 20.10 writes what dockerd before 23.0 understands (found out on the machine itself)\n"
    "  --nft, --windows   firewall: which kind of rules\n"
    "\n"
    "Exit status: 0 done, or printed; 1 something was left as it is and leads past the gateway; 2 an option or a file\n"
    "is not usable. It does not say whether anything was changed: \"changed\" does (--json), and so does whether "
    "anything\n"
    "was told (--quiet). With Ansible:\n"
    "  command: pullgate client docker --gateway https://gateway.example.com --ca ca.crt --strict --write --json\n"
    "  register: done\n"
    "  changed_when: (done.stdout | from_json).changed\n"
    "\n"
    "Examples:\n"
    "  pullgate client docker --gateway https://gateway.example.com\n"
    "  pullgate client docker containerd --gateway https://gateway.example.com --ca ca.crt --strict --write\n"
    "  pullgate client podman --config pullgate.json --ca ca.crt --write --root /srv/image\n";

struct options {
    struct site_options site;
    struct client_options client;
    bool write, strict, quiet, json, no_takeover;
    char root[PATH_MAX];
};

// --- options ---

static void print_help(void) {
    size_t count;
    const struct client_kind *kinds = client_kinds(&count);
    fputs(help, stdout);
    for (size_t i = 0; i < count; i++)
        printf("  %-17s %s\n", kinds[i].name, kinds[i].about);
    fputs(help_options, stdout);
}

static bool complain(const char *text, const char *about) {
    fprintf(stderr, "pullgate client: %s%s\n", text, about);
    return false;
}

static bool set_root(struct options *o, const char *path) {
    if (realpath(path, o->root) == NULL)
        return complain("--root: there is no such folder: ", path);
    if (strcmp(o->root, "/") == 0)
        o->root[0] = '\0';
    o->client.look = true;
    return true;
}

static bool add_header(struct options *o, const char *text) {
    if (o->site.header_count == CLIENT_HEADERS_MAX)
        return complain("--header: ", "there are too many");
    o->site.headers[o->site.header_count++] = text;
    return true;
}

/// Options that only keep a text or a fact; false: it is none of them.
static bool read_plain(struct options *o, int option) {
    const struct {
        int option;
        const char **text;
    } texts[] = {{'c', &o->site.config}, {'s', &o->site.site},        {'g', &o->site.gateway},
                 {'a', &o->site.ca},     {'C', &o->site.certificate}, {'K', &o->site.key},
                 {'p', &o->site.proxy},  {'A', &o->client.address},   {'D', &o->client.docker_version}};
    const struct {
        int option;
        bool *fact;
    } facts[] = {{'w', &o->write},       {'S', &o->strict},          {'q', &o->quiet},      {'j', &o->json},
                 {'T', &o->no_takeover}, {'t', &o->client.takeover}, {'n', &o->client.nft}, {'W', &o->client.windows}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].option == option) {
            *texts[i].text = optarg;
            return true;
        }
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        if (facts[i].option == option) {
            *facts[i].fact = true;
            return true;
        }
    return false;
}

static bool read_option(struct options *o, int option) {
    if (option == 'r')
        return set_root(o, optarg);
    if (option == 'H')
        return add_header(o, optarg);
    return read_plain(o, option);
}

// --- the plan ---

static bool names_hold(char *const *names, const char *name) {
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/// Every client reads it.
static bool plan_ca(const struct options *o, char *const *names, struct client_plan *plan, struct err *err) {
    if (o->site.ca == NULL)
        return true;
    char *pem = client_ca_read(o->site.ca, err);
    for (; pem != NULL && *names != NULL; names++) {
        plan_client(plan, *names);
        plan_text_named(plan, CLIENT_CA_PATH, 0644, pem,
                        "A copy of what --ca names: the authority of the gateway's certificate.");
    }
    bool ok = pem != NULL;
    free(pem);
    return ok;
}

/// What pullgate itself keeps on the machine: its CA, and the description that doctor reads.
static bool plan_own(const struct options *o, char *const *names, const struct client_site *site,
                     struct client_plan *plan, struct err *err) {
    if (!plan_ca(o, names, plan, err))
        return false;
    plan_client(plan, NULL); // No client reads what follows.
    struct buf text;
    buf_init(&text, CLIENT_SITE_TEXT_MAX);
    bool ok = client_site_write(site, true, &text) || err_set(err, "the site's description is too long");
    if (ok)
        plan_text_named(plan, CLIENT_SITE_PATH, site->header_count > 0 ? 0600 : 0644, text.data,
                        "What this machine knows of its site: later calls and `pullgate doctor` start from it.");
    buf_deinit(&text);
    return ok;
}

/// What clients are pointed at and is not there.
static void tell_missing(const struct options *o, const char *path, struct client_plan *plan) {
    if (path != NULL && !rooted_has(o->client.root, path))
        plan_open(plan, "%s is not there: until it is, every pull fails.", path);
}

static void tell_own(const struct options *o, const struct client_site *site, struct client_plan *plan) {
    if (o->write) {
        tell_missing(o, site->certificate, plan);
        tell_missing(o, site->key, plan);
    }
    if (site->ca == NULL && !site->plain)
        plan_note(plan, "No authority is named (--ca): the gateway's certificate has to be one that every client of "
                        "this machine trusts already.");
    if (site->ca == NULL)
        return;
    if (!o->write && o->site.ca == NULL)
        plan_note(plan,
                  "%s is the authority that signs the gateway's certificate (`pullgate ca show`, on the gateway): "
                  "--ca FILE --write puts it there.",
                  site->ca);
    else if (o->write && o->site.ca == NULL && !rooted_has(o->client.root, site->ca))
        plan_open(plan,
                  "%s is not there: until it is, every pull fails. Write again with --ca FILE; `pullgate ca show` "
                  "prints it on the gateway.",
                  site->ca);
}

static void replace(char **at, const char *with) {
    free(*at);
    *at = mem_strdup(with);
}

/// The hosts-file form stays until --no-takeover, with the address that it was given.
static void settle_takeover(struct options *o, bool docker, struct client_site *site, struct client_plan *plan) {
    if (o->no_takeover) {
        site->led = false;
        replace(&site->led_address, NULL);
    }
    if (!docker || (!o->client.takeover && !site->led))
        return;
    if (!o->client.takeover)
        plan_note(plan, "docker: --takeover was given on this machine before, and stays; --no-takeover goes back.");
    o->client.takeover = site->led = true;
    if (o->client.address != NULL)
        replace(&site->led_address, o->client.address);
    o->client.address = site->led_address;
}

static bool plan_names(const struct options *o, char *const *names, const struct client_site *site,
                       struct client_plan *plan, struct err *err) {
    if (!plan_own(o, names, site, plan, err))
        return false;
    for (; *names != NULL; names++) {
        plan_client(plan, *names);
        if (!client_kind(*names)->plan(site, &o->client, plan, err))
            return err_prefix(err, "%s: ", *names);
    }
    plan_client(plan, NULL);
    tell_own(o, site, plan);
    return true;
}

/// As text, file by file, then what is left to do.
static bool write_as_text(const struct options *o, struct client_plan *plan, struct plan_result *result,
                          struct err *err) {
    bool ok = plan_write(plan, o->client.root, o->strict, stdout, result, err);
    if (!o->quiet || result->changed + result->aside + result->refused > 0)
        fputc('\n', stdout);
    plan_print_rest(plan, stdout);
    return ok;
}

static bool write_as_json(const struct options *o, struct client_plan *plan, struct plan_result *result,
                          struct err *err) {
    char *lines = NULL;
    size_t len;
    FILE *unread = open_memstream(&lines, &len);
    if (unread == NULL)
        return err_set(err, "%s", strerror(errno));
    bool ok = plan_write(plan, o->client.root, o->strict, unread, result, err);
    fclose(unread);
    mem_wipe(lines);
    plan_print_json(plan, stdout);
    return ok;
}

static int write_plan(const struct options *o, struct client_plan *plan) {
    struct plan_result result = {0};
    struct err err = {""};
    if (o->quiet)
        plan_tell_less(plan);
    bool ok = (o->json ? write_as_json : write_as_text)(o, plan, &result, &err);
    if (!ok) {
        fprintf(stderr, "pullgate client: %s\n", err.text);
        return EXIT_UNUSABLE;
    }
    return result.refused > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(struct options *o, char *const *names) {
    struct err err = {""};
    struct client_site *site = client_site_find(&o->site, &err);
    struct client_plan *plan = plan_new();
    int status = EXIT_UNUSABLE;
    if (site != NULL)
        settle_takeover(o, names_hold(names, "docker"), site, plan);
    if (site == NULL || !plan_names(o, names, site, plan, &err)) {
        fprintf(stderr, "pullgate client: %s\n", err.text);
    } else if (o->write) {
        status = write_plan(o, plan);
    } else {
        plan_print(plan, stdout);
        status = EXIT_SUCCESS;
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        complain("what is to be told cannot be written: ", strerror(errno));
        status = EXIT_UNUSABLE;
    }
    plan_free(plan);
    client_site_free(site);
    return status;
}

static bool known_names(char *const *names) {
    if (*names == NULL)
        return complain("name at least one client: ", "docker, containerd, podman, …");
    for (; *names != NULL; names++)
        if (client_kind(*names) == NULL)
            return complain("there is no client of this name: ", *names);
    return true;
}

/// An option that none of the clients heeds would be believed to do something.
static bool options_heeded(const struct options *o, char *const *names) {
    bool docker = names_hold(names, "docker"), firewall = names_hold(names, "firewall");
    if (!docker && (o->client.takeover || o->no_takeover || o->client.docker_version != NULL))
        return complain("--takeover, --no-takeover and --docker-version are for docker", "");
    if (o->client.takeover && o->no_takeover)
        return complain("--takeover and --no-takeover exclude each other", "");
    if (!o->write && (o->json || o->quiet))
        return complain("--json and --quiet tell what --write did", "");
    if (!docker && !firewall && !names_hold(names, "wsl") && o->client.address != NULL)
        return complain("--address is for docker, firewall and wsl", "");
    if (!firewall && (o->client.nft || o->client.windows))
        return complain("--nft and --windows are for firewall", "");
    return true;
}

int command_client(int argc, char **argv) {
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"site", required_argument, NULL, 's'},
                                          {"gateway", required_argument, NULL, 'g'},
                                          {"ca", required_argument, NULL, 'a'},
                                          {"certificate", required_argument, NULL, 'C'},
                                          {"key", required_argument, NULL, 'K'},
                                          {"header", required_argument, NULL, 'H'},
                                          {"proxy", required_argument, NULL, 'p'},
                                          {"address", required_argument, NULL, 'A'},
                                          {"docker-version", required_argument, NULL, 'D'},
                                          {"root", required_argument, NULL, 'r'},
                                          {"write", no_argument, NULL, 'w'},
                                          {"strict", no_argument, NULL, 'S'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"takeover", no_argument, NULL, 't'},
                                          {"no-takeover", no_argument, NULL, 'T'},
                                          {"nft", no_argument, NULL, 'n'},
                                          {"windows", no_argument, NULL, 'W'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options o = {0};
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        if (option == 'h') {
            print_help();
            return EXIT_SUCCESS;
        }
        if (!read_option(&o, option))
            return command_usage("client");
    }
    if (!known_names(argv + optind) || !options_heeded(&o, argv + optind))
        return command_usage("client");
    o.client.look = o.client.look || o.write;
    o.client.root = o.site.root = o.root;
    return run(&o, argv + optind);
}
