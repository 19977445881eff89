// SPDX-License-Identifier: Apache-2.0
//
// Which container clients this machine has.

#include "gateway/doctor/machine.h"

#include "gateway/clients/run.h"
#include "gateway/doctor/below.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { VERSION_TEXT_MAX = 8 * 1024, HASHED_BYTES = MACHINE_ID_HEX / 2 };

struct kind {
    const char *name;
    const char *programs[3];
    const char *argument;      ///< That makes it tell its version.
    const char *configured[4]; ///< Any of these says that it is there, or is meant to be.
};

static const struct kind kinds[] = {
    {"docker", {"dockerd"}, "--version", {"/etc/docker/daemon.json", "/etc/docker/certs.d"}},
    {"containerd", {"containerd"}, "--version", {"/etc/containerd/config.toml", "/etc/containerd/certs.d"}},
    {"nerdctl", {"nerdctl", "nerdctl.lima"}, "--version", {"/etc/nerdctl/nerdctl.toml"}},
    {"buildkit", {"buildkitd"}, "--version", {"/etc/buildkit/buildkitd.toml"}},
    {"podman", {"podman"}, "--version", {NULL}},
    {"buildah", {"buildah"}, "--version", {NULL}},
    {"skopeo", {"skopeo"}, "--version", {NULL}},
    {"cri-o", {"crio"}, "--version", {"/etc/crio/crio.conf", "/etc/crio/crio.conf.d"}},
    {"k3s", {"k3s"}, "--version", {"/etc/rancher/k3s/registries.yaml", "/etc/rancher/k3s/config.yaml"}},
    {"rke2", {"rke2"}, "--version", {"/etc/rancher/rke2/registries.yaml", "/etc/rancher/rke2/config.yaml"}},
    {"desktop", {"docker-desktop"}, NULL, {"/usr/share/docker-desktop/admin-settings.json", "/opt/docker-desktop"}},
    {"crane", {"crane"}, "version", {NULL}},
    {"regctl", {"regctl"}, "version", {NULL}},
    {"oras", {"oras"}, "version", {NULL}},
    {"apptainer", {"apptainer", "singularity"}, "--version", {NULL}},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *const program_folders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin",
                                              "/sbin",           "/bin",           "/opt/bin",  "/var/lib/rancher",
                                              "/snap/bin"};

bool machine_knows(const char *name) {
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return true;
    return false;
}

// --- programs ---

static char *program_in(const char *root, const char *folder, const char *name) {
    char *path = mem_printf("%s/%s", folder, name);
    if (below_is_there(root, path) && !below_is_folder(root, path))
        return path;
    free(path);
    return NULL;
}

static char *program_in_path(const char *name) {
    struct names folders = {0};
    const char *path = getenv("PATH");
    names_split(&folders, path != NULL ? path : "", ":");
    char *found = NULL;
    for (size_t i = 0; i < folders.count && found == NULL; i++)
        if (folders.at[i][0] == '/')
            found = program_in("", folders.at[i], name);
    names_deinit(&folders);
    return found;
}

static char *find_program(const char *root, const struct kind *kind) {
    char *found = NULL;
    for (size_t i = 0; kind->programs[i] != NULL && found == NULL; i++) {
        if (root[0] == '\0')
            found = program_in_path(kind->programs[i]);
        for (size_t j = 0; j < sizeof program_folders / sizeof *program_folders && found == NULL; j++)
            found = program_in(root, program_folders[j], kind->programs[i]);
    }
    return found;
}

// --- versions ---

char *version_in(const char *said) {
    for (const char *at = said; *at != '\0'; at++) {
        bool begins = at == said || !(isalnum((unsigned char)at[-1]) || at[-1] == '.' || at[-1] == '-');
        const char *digits = begins && *at == 'v' ? at + 1 : at;
        if (!begins || !isdigit((unsigned char)*digits))
            continue;
        size_t number = strspn(digits, "0123456789");
        if (digits[number] != '.' || !isdigit((unsigned char)digits[number + 1]))
            continue;
        size_t len = strspn(digits, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+~-");
        return mem_strndup(digits, len < 64 ? len : 64);
    }
    return NULL;
}

static void learn_version(struct machine_client *c, const char *argument) {
    if (argument == NULL)
        return;
    struct buf said;
    buf_init(&said, VERSION_TEXT_MAX);
    buf_adds(&said, "");
    const char *const argv[] = {c->program, argument, NULL};
    if (program_run(argv, NULL, VERSION_SECONDS_MAX, &said) == 0)
        c->version = version_in(said.data);
    if (c->version != NULL)
        c->major = (unsigned)strtoul(c->version, NULL, 10);
    buf_deinit(&said);
}

bool machine_at_least(const struct machine_client *c, unsigned major, unsigned minor) {
    const char *dot = c->version != NULL ? strchr(c->version, '.') : NULL;
    unsigned long own = dot != NULL ? strtoul(dot + 1, NULL, 10) : 0;
    return c->version != NULL && (c->major > major || (c->major == major && own >= minor));
}

// --- running daemons ---

static bool is_number(const char *s) {
    return s[strspn(s, "0123456789")] == '\0';
}

/// Not so a daemon in a container, whose /etc is another. Who may not look takes it for ours.
static bool sees_our_files(const char *process) {
    char ours[64] = "", theirs[64] = "";
    char *path = mem_printf("/proc/%s/ns/mnt", process);
    bool known =
        readlink("/proc/self/ns/mnt", ours, sizeof ours - 1) > 0 && readlink(path, theirs, sizeof theirs - 1) > 0;
    free(path);
    return !known || strcmp(ours, theirs) == 0;
}

enum { MS_PER_SECOND = 1000, NS_PER_MS = 1000000 };

static int64_t in_ms(const struct timespec *t) {
    return (int64_t)t->tv_sec * MS_PER_SECOND + t->tv_nsec / NS_PER_MS;
}

/// The 22nd word of /proc/PID/stat is in clock ticks since the machine was started. The second is a name in brackets,
/// which may hold anything.
static int64_t started_at(pid_t pid) {
    enum { WORD = 22, AFTER_NAME = 3 };
    struct buf text;
    struct timespec now, up;
    char *path = mem_printf("/proc/%d/stat", (int)pid);
    bool read = below_text("", path, &text) == BELOW_OK;
    const char *at = read ? strrchr(text.data, ')') : NULL;
    for (int word = AFTER_NAME - 1; at != NULL && word < WORD; word++)
        at = strchr(at + 1, ' ');
    int64_t ticks = at != NULL ? strtoll(at + 1, NULL, 10) : 0;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    free(path);
    buf_deinit(&text);
    return ticks > 0 ? in_ms(&now) - in_ms(&up) + ticks * MS_PER_SECOND / sysconf(_SC_CLK_TCK) : 0;
}

static bool has_comm(const char *process, const char *program) {
    char *path = mem_printf("/proc/%s/comm", process);
    struct buf text;
    bool same = below_text("", path, &text) == BELOW_OK && text.len > 0 && strlen(program) == text.len - 1 &&
                strncmp(text.data, program, text.len - 1) == 0;
    buf_deinit(&text);
    free(path);
    return same;
}

/// dockerd and k3s start containerds of their own, with configuration of their own.
static bool is_anothers(const char *process) {
    static const char *const marks[] = {"/docker/containerd/", "/rancher/"};
    char *path = mem_printf("/proc/%s/cmdline", process);
    struct buf text;
    bool theirs = false;
    below_text("", path, &text);
    for (size_t at = 0; at < text.len && !theirs; at += strlen(text.data + at) + 1)
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
            theirs |= strstr(text.data + at, marks[i]) != NULL;
    buf_deinit(&text);
    free(path);
    return theirs;
}

/// A user's own (rootless) daemon is not the machine's.
static bool is_roots(const char *process) {
    struct stat st;
    char *path = mem_printf("/proc/%s", process);
    bool roots = stat(path, &st) != 0 || st.st_uid == 0;
    free(path);
    return roots;
}

static void add_other(struct machine_client *c, pid_t pid) {
    if (c->others.count == MACHINE_OTHERS_MAX)
        return;
    c->others.at = mem_resize(c->others.at, c->others.count + 1, sizeof *c->others.at);
    c->others.at[c->others.count++] = pid;
}

/// The first that was started is taken for the machine's own: it is there since the machine is.
static void add_process(struct machine_client *c, pid_t pid) {
    int64_t started = started_at(pid);
    if (c->pid != 0 && started >= c->started) {
        add_other(c, pid);
        return;
    }
    if (c->pid != 0)
        add_other(c, c->pid);
    c->pid = pid;
    c->started = started;
}

static void find_process(struct machine_client *c, const struct kind *kind, const struct names *processes) {
    for (size_t i = 0; i < processes->count; i++) {
        const char *process = processes->at[i];
        if (!is_number(process) || !has_comm(process, kind->programs[0]))
            continue;
        bool roots = is_roots(process);
        c->rootless |= !roots;
        if (roots && sees_our_files(process) && !is_anothers(process))
            add_process(c, (pid_t)strtol(process, NULL, 10));
    }
}

// --- the machine ---

static bool is_configured(const char *root, const struct kind *kind) {
    for (size_t i = 0; kind->configured[i] != NULL; i++)
        if (below_is_there(root, kind->configured[i]) || below_is_hidden(root, kind->configured[i]))
            return true;
    return false;
}

static void look_for(struct machine *m, const char *root, const struct kind *kind, const struct names *named,
                     const struct names *processes) {
    if (named->count > 0 && !names_have(named, kind->name))
        return;
    struct machine_client found = {.name = kind->name, .program = find_program(root, kind)};
    if (root[0] == '\0')
        find_process(&found, kind, processes);
    bool runs = found.pid != 0 || found.rootless; // Its program may be where nobody looks for it, and is not run there.
    if (found.program == NULL && !runs && named->count == 0 && !is_configured(root, kind))
        return;
    if (found.program != NULL && root[0] == '\0')
        learn_version(&found, kind->argument);
    m->clients = mem_resize(m->clients, m->count + 1, sizeof *m->clients);
    m->clients[m->count++] = found;
}

/// registries.conf without any of its programs: podman stands for them.
static void look_for_containers(struct machine *m, const char *root, const struct names *named) {
    static const char *const readers[] = {"podman", "buildah", "skopeo", "cri-o"};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (machine_client(m, readers[i]) != NULL)
            return;
    if (named->count > 0 || !below_is_folder(root, "/etc/containers/registries.conf.d"))
        return;
    m->clients = mem_resize(m->clients, m->count + 1, sizeof *m->clients);
    m->clients[m->count++] = (struct machine_client){.name = "podman"};
}

/// Containers have the machine's files in view, but not its name.
static void name_machine(struct machine *m, const char *root) {
    struct buf text;
    if (below_text(root, "/etc/hostname", &text) == BELOW_OK && root[0] != '\0' && text.len > 0)
        m->name = mem_strndup(text.data, strcspn(text.data, "\r\n"));
    buf_deinit(&text);
    char name[256] = "";
    if (m->name == NULL && root[0] == '\0' && gethostname(name, sizeof name - 1) == 0)
        m->name = mem_strdup(name);
    if (m->name == NULL)
        m->name = mem_strdup(root[0] != '\0' ? "image" : "unknown");
}

/// machine-id(5) asks that it be never told as it is.
static void hash_id(struct machine *m, const char *root) {
    static const char purpose[] = "pullgate machine";
    struct buf text;
    unsigned char hash[EVP_MAX_MD_SIZE];
    enum below found = below_text(root, "/etc/machine-id", &text);
    size_t len = strcspn(text.data, "\r\n");
    char *salted = mem_printf("%s %.*s", purpose, (int)len, text.data);
    if (found == BELOW_OK && len > 0 && EVP_Digest(salted, strlen(salted), hash, NULL, EVP_sha256(), NULL) == 1)
        for (size_t i = 0; i < HASHED_BYTES; i++)
            snprintf(m->id_hash + 2 * i, 3, "%02x", hash[i]);
    free(salted);
    buf_deinit(&text);
}

/// Of the folders that doctor looks for.
static bool hides_something(const char *root, const char *home) {
    static const char *const inside[] = {".",
                                         ".config/containers/.",
                                         ".config/docker/.",
                                         ".config/nerdctl/.",
                                         ".config/buildkit/.",
                                         ".docker/buildx/instances/.",
                                         ".local/share/docker"};
    bool hides = false;
    for (size_t i = 0; i < sizeof inside / sizeof *inside && !hides; i++) {
        char *path = mem_printf("%s/%s", home, inside[i]);
        hides = below_is_hidden(root, path);
        free(path);
    }
    return hides;
}

static void add_home(struct machine *m, const char *root, const char *home) {
    if (home[0] != '/' || strlen(home) < 2 || names_have(&m->homes, home) || !below_is_folder(root, home))
        return;
    bool room = m->homes.count < MACHINE_HOMES_MAX;
    if (room)
        names_add(&m->homes, home);
    if (!room || hides_something(root, home))
        names_add_once(&m->closed_homes, home);
}

static void find_homes(struct machine *m, const char *root) {
    struct buf text;
    struct names lines = {0};
    below_text(root, "/etc/passwd", &text);
    names_split(&lines, text.data, "\n");
    if (root[0] == '\0' && getenv("HOME") != NULL)
        add_home(m, root, getenv("HOME"));
    for (size_t i = 0; i < lines.count; i++) {
        char *at = lines.at[i];
        for (int colons = 0; colons < 5 && at != NULL; colons++)
            at = strchr(at, ':') != NULL ? strchr(at, ':') + 1 : NULL;
        if (at == NULL)
            continue;
        at[strcspn(at, ":")] = '\0';
        add_home(m, root, at);
    }
    names_deinit(&lines);
    buf_deinit(&text);
    struct names folders = {0};
    below_folder(root, "/home", &folders);
    names_add(&folders, "../root");
    for (size_t i = 0; i < folders.count; i++) {
        char *home =
            strcmp(folders.at[i], "../root") == 0 ? mem_strdup("/root") : mem_printf("/home/%s", folders.at[i]);
        add_home(m, root, home);
        free(home);
    }
    names_deinit(&folders);
}

void machine_look(const char *root, const struct names *named, struct machine *m) {
    struct names processes = {0};
    *m = (struct machine){0};
    if (root[0] == '\0')
        below_folder("", "/proc", &processes);
    name_machine(m, root);
    hash_id(m, root);
    find_homes(m, root);
    for (size_t i = 0; i < KINDS; i++)
        look_for(m, root, &kinds[i], named, &processes);
    look_for_containers(m, root, named);
    names_deinit(&processes);
}

const struct machine_client *machine_client(const struct machine *m, const char *name) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->clients[i].name, name) == 0)
            return &m->clients[i];
    return NULL;
}

void machine_deinit(struct machine *m) {
    for (size_t i = 0; i < m->count; i++) {
        free(m->clients[i].program);
        free(m->clients[i].version);
        free(m->clients[i].others.at);
    }
    free(m->clients);
    free(m->name);
    names_deinit(&m->homes);
    names_deinit(&m->closed_homes);
    *m = (struct machine){0};
}
