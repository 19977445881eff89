// SPDX-License-Identifier: Apache-2.0
//
// WSL: the scripts for Windows and for a distribution, and .wslconfig. Their texts only: nothing here runs them.

#include "client_kit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DIR "/etc/pullgate/windows/"

static struct client_site *site(const char *gateway) {
    struct err err = {""};
    char text[512];
    snprintf(text, sizeof text, "{\"format\":1,\"gateway\":\"%s\",\"registries\":[{\"name\":\"docker.io\"}]}", gateway);
    struct client_site *s = client_site_parse(text, strlen(text), &err);
    cr_assert_not_null(s, "%s", err.text);
    return s;
}

Test(client_wsl, texts) {
    static const struct {
        const char *file, *has, *why;
    } rows[] = {
        {DIR "wslconfig", "[wsl2]\n", "the section for all distributions"},
        {DIR "wslconfig", "\nfirewall=true\n", "the Hyper-V firewall stays on"},
        {DIR "wslconfig", "\ndnsTunneling=true\n", "one resolver for all"},
        {DIR "wslconfig", "\nautoProxy=false\n", "no proxy of Windows' before the gateway"},
        {DIR "wslconfig", "networkingMode=mirrored", "both modes are told"},
        {DIR "pullgate-wsl.ps1", "wsl.exe --list --quiet", "every distribution"},
        {DIR "pullgate-wsl.ps1", "docker-desktop*", "but Docker Desktop's own"},
        {DIR "pullgate-wsl.ps1", "generated, not run", "nobody tried it"},
        {DIR "pullgate-wsl.sh", "gateway='https://192.0.2.5'\n", "each is given the same endpoint"},
        {DIR "pullgate-wsl.sh", "pullgate client \"${client%:*}\"", "each client that is there"},
        {DIR "pullgate-wsl.sh", "docker:dockerd", "docker"},
        {DIR "pullgate-wsl.sh", "podman:podman", "podman"},
        {DIR "pullgate-firewall.ps1", "{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}", "WSL's own creator id"},
        {DIR "pullgate-firewall.ps1", "'192.0.2.6-255.255.255.255'", "all addresses but the gateway's"},
    };
    char *root = kit_root();
    struct client_site *s = site("https://192.0.2.5");
    struct kit_run r = kit_write(plan_wsl, s, NULL, root, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = kit_get(root, rows[i].file);
        cr_expect_not_null(strstr(text, rows[i].has), "%s: %s", rows[i].why, text);
        free(text);
    }
    cr_expect_not_null(strstr(r.out, "not run"), "and the plan says so: %s", r.out);
    kit_done(&r);
    r = kit_write(plan_wsl, s, NULL, root, false);
    cr_expect_eq(r.result.changed, 0, "written twice, nothing changes: %s", r.out);
    kit_done(&r);
    client_site_free(s);
    kit_drop(root);
}

Test(client_wsl, the_distributions_script_is_a_shell_script) {
    char *root = kit_root(), command[256];
    struct client_site *s = site("https://192.0.2.5:8443");
    struct kit_run r = kit_write(plan_wsl, s, NULL, root, false);
    snprintf(command, sizeof command, "sh -n %s" DIR "pullgate-wsl.sh", root);
    cr_expect_eq(system(command), 0, "sh reads it");
    kit_done(&r);
    client_site_free(s);
    kit_drop(root);
}
