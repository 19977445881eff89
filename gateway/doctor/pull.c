// SPDX-License-Identifier: Apache-2.0
//
// --pull: a real pull, with each client that is installed here, and what its terminal showed.

#include "gateway/doctor/network.h"

#include "gateway/clients/run.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_MAX = 256 * 1024, SHOWN_MAX = 400, WORDS_MAX = 10 };

struct way {
    const char *client;
    const char *argv[WORDS_MAX]; ///< "%" stands for the image, "%docker" for docker://IMAGE, "%dir" for a folder.
};

static const struct way ways[] = {
    {"docker", {"docker", "pull", "%"}},
    {"containerd", {"ctr", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", "%"}},
    {"nerdctl", {"nerdctl", "pull", "%"}},
    {"podman", {"podman", "pull", "%"}},
    {"buildah", {"buildah", "pull", "%"}},
    {"skopeo", {"skopeo", "copy", "%docker", "%dir"}},
    {"cri-o", {"crictl", "pull", "%"}},
    {"k3s", {"k3s", "crictl", "pull", "%"}},
};

/// The last line with something on it: what a person is left with.
static char *last_line(const char *text) {
    size_t len = strlen(text);
    while (len > 0 && strchr("\r\n \t", text[len - 1]) != NULL)
        len--;
    size_t begin = len;
    while (begin > 0 && text[begin - 1] != '\n' && text[begin - 1] != '\r')
        begin--;
    return mem_strndup(text + begin, len - begin < SHOWN_MAX ? len - begin : SHOWN_MAX);
}

static void tell(struct doctor *d, const char *client, const char *image, int status, const char *text) {
    char *line = last_line(text);
    const char *message = d->site != NULL ? d->site->message : NULL;
    bool shown = message != NULL && strstr(text, message) != NULL;
    if (status == 0)
        report_add(d->report, FINDING_OK, "pull_worked", client, image, NULL, NULL, "the pull worked");
    else if (status == -1)
        report_add(d->report, FINDING_UNKNOWN, "pull_failed", client, image, NULL, NULL,
                   "its command could not be run");
    else if (status == -2)
        report_add(d->report, FINDING_WARNING, "pull_failed", client, image, NULL, NULL,
                   "the pull took longer than %d s and was stopped; the terminal showed last: %s", PULL_SECONDS, line);
    else
        report_add(d->report, FINDING_WARNING, "pull_failed", client, image, NULL, NULL,
                   "the pull failed (status %d)%s: %s", status,
                   message == NULL ? ""
                   : shown         ? ", and the site's message was shown"
                                   : ", and the site's message was not shown",
                   line);
    free(line);
}

static void pull(struct doctor *d, const struct way *way, const char *image, const char *folder) {
    const char *argv[WORDS_MAX + 1] = {NULL};
    char *docker = mem_printf("docker://%s", image), *dir = mem_printf("dir:%s", folder);
    for (size_t i = 0; way->argv[i] != NULL; i++)
        argv[i] = strcmp(way->argv[i], "%") == 0         ? image
                  : strcmp(way->argv[i], "%docker") == 0 ? docker
                  : strcmp(way->argv[i], "%dir") == 0    ? dir
                                                         : way->argv[i];
    struct buf out;
    buf_init(&out, OUTPUT_MAX);
    buf_adds(&out, "");
    int status = program_run(argv, NULL, PULL_SECONDS, &out);
    tell(d, way->client, image, status, out.data);
    buf_deinit(&out);
    free(docker);
    free(dir);
}

static void remove_folder(const char *folder) {
    const char *const argv[] = {"rm", "-rf", "--", folder, NULL};
    struct buf out;
    buf_init(&out, 1024);
    program_run(argv, NULL, PULL_SECONDS, &out);
    buf_deinit(&out);
}

void pull_judge(struct doctor *d, const char *image) {
    char folder[] = "/tmp/pullgate-pull-XXXXXX";
    bool made = mkdtemp(folder) != NULL;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (machine_client(d->machine, ways[i].client) != NULL && (made || strcmp(ways[i].client, "skopeo") != 0))
            pull(d, &ways[i], image, folder);
    if (made)
        remove_folder(folder);
}
