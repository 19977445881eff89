// SPDX-License-Identifier: Apache-2.0
//
// WSL 2: all distributions of a Windows machine share one network and one firewall, and each has clients of its own.
//
// Three scripts are made: one for Windows that asks every distribution to configure its clients, one that a
// distribution runs, and the firewall's, which holds whatever a distribution's root does. `.wslconfig` is the person's
// file; what belongs into it is made beside.

#include "gateway/clients/clients.h"
#include "gateway/clients/firewall.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define WINDOWS_DIR "/etc/pullgate/windows"

static const char wslconfig[] =
    "# Written by pullgate: belongs to %UserProfile%\\.wslconfig, for all distributions together.\n"
    "[wsl2]\n"
    "# The Hyper-V firewall filters what distributions send, under both networking modes. It is the default; said "
    "here\n"
    "# so that nobody turns it off unseen.\n"
    "firewall=true\n"
    "# Names are looked up by Windows, so that the gateway has the same address for all.\n"
    "dnsTunneling=true\n"
    "# The proxy of Windows would be given to each distribution's environment, and clients would ask it for "
    "everything,\n"
    "# the gateway included.\n"
    "autoProxy=false\n"
    "# \"nat\" and \"mirrored\" both work. Under \"mirrored\" (Windows 11 22H2 and later) a distribution has the "
    "host's own\n"
    "# addresses, and a gateway on the host is 127.0.0.1 for it; under \"nat\" it is the default route's address.\n"
    "#networkingMode=mirrored\n";

/// Inside of a distribution, as root: the clients that are there.
static char *distribution_script(const struct client_site *site) {
    struct buf b;
    buf_init(&b, CONF_TEXT_MAX);
    buf_addf(
        &b,
        "#!/bin/sh\n"
        "# Written by pullgate; generated, not run. In each distribution, as root: configures the clients that it\n"
        "# has. pullgate itself must be there (one static file under /usr/local/bin is enough).\n"
        "set -eu\n"
        "here=$(dirname \"$0\")\n"
        "gateway='%s'\n"
        "set -- --gateway \"$gateway\" --strict --write\n"
        "if [ -f \"$here/ca.crt\" ]; then set -- \"$@\" --ca \"$here/ca.crt\"; fi\n"
        "for client in docker:dockerd containerd:containerd podman:podman buildah:buildah skopeo:skopeo \\\n"
        "    buildkit:buildkitd k3s:k3s rke2:rke2 nerdctl:nerdctl; do\n"
        "    if command -v \"${client#*:}\" >/dev/null 2>&1; then\n"
        "        pullgate client \"${client%%:*}\" \"$@\" || echo \"${client%%:*}: not closed, see above\" >&2\n"
        "    fi\n"
        "done\n"
        "pullgate doctor\n",
        site->gateway);
    return buf_steal(&b);
}

static char *windows_script(const struct client_site *site) {
    struct buf b;
    buf_init(&b, CONF_TEXT_MAX);
    buf_adds(
        &b,
        "# Written by pullgate; generated, not run. On Windows, as the person whose distributions they are, in the\n"
        "# folder that holds pullgate-wsl.sh, ca.crt (the gateway's authority) and wslconfig. Running it again\n"
        "# changes nothing more.\n"
        "$ErrorActionPreference = 'Stop'\n"
        "$env:WSL_UTF8 = '1'\n"
        "$here = Split-Path -Parent $MyInvocation.MyCommand.Path\n"
        "\n# .wslconfig: only where there is none; a person's own is theirs to complete.\n"
        "$own = Join-Path $env:USERPROFILE '.wslconfig'\n"
        "if (-not (Test-Path $own)) {\n"
        "    Copy-Item (Join-Path $here 'wslconfig') $own\n"
        "} else {\n"
        "    Write-Warning \"$own is there: see that [wsl2] has what $here\\wslconfig has\"\n"
        "}\n"
        "\n# Each distribution; docker-desktop's own is Docker Desktop's (pullgate client desktop).\n"
        "foreach ($name in (wsl.exe --list --quiet)) {\n"
        "    $name = $name.Trim()\n"
        "    if ($name -eq '' -or $name -like 'docker-desktop*') { continue }\n"
        "    $folder = (wsl.exe -d $name -u root --exec wslpath -a $here).Trim()\n"
        "    wsl.exe -d $name -u root --exec sh \"$folder/pullgate-wsl.sh\"\n"
        "    if ($LASTEXITCODE -ne 0) { Write-Warning \"${name}: not closed, see above\" }\n"
        "}\n"
        "\n# The new .wslconfig counts when WSL has stopped.\n"
        "Write-Host 'Run: wsl.exe --shutdown'\n");
    return buf_steal(&b);
}

static void plan_scripts(const struct client_site *site, struct client_plan *plan) {
    char *windows = windows_script(site), *distribution = distribution_script(site);
    plan_text(plan, WINDOWS_DIR "/wslconfig", 0644, wslconfig);
    plan_text(plan, WINDOWS_DIR "/pullgate-wsl.ps1", 0644, windows);
    plan_text(plan, WINDOWS_DIR "/pullgate-wsl.sh", 0755, distribution);
    free(distribution);
    free(windows);
}

static bool plan_rules(const struct client_site *site, const char *address, struct client_plan *plan, struct err *err) {
    struct firewall_reach reach;
    bool ok = firewall_reach(site, address, &reach, err);
    if (ok) {
        char *text = firewall_windows(site, &reach);
        plan_text(plan, FIREWALL_WINDOWS, 0644, text);
        free(text);
        firewall_tell(&reach, plan);
    }
    firewall_reach_deinit(&reach);
    return ok;
}

static void tell(struct client_plan *plan) {
    plan_run(plan, "powershell.exe -ExecutionPolicy Bypass -File pullgate-wsl.ps1");
    plan_run(plan, "powershell.exe -ExecutionPolicy Bypass -File pullgate-firewall.ps1    # as an administrator");
    plan_run(plan, "wsl.exe --shutdown");
    plan_note(plan, "Generated, not run: nothing here was tried on Windows. Copy the folder " WINDOWS_DIR
                    " and the gateway's authority (as ca.crt) to the Windows machine.");
    plan_note(plan, "Each distribution has files of its own: `pullgate client docker` and `pullgate client podman` are "
                    "what the script runs in them. A distribution that is installed later needs it again; until then "
                    "the firewall's rules are what holds.");
    plan_note(plan, "All distributions share one endpoint: a gateway on the Windows machine itself must be bound to an "
                    "address that both modes reach (under NAT that of the vEthernet (WSL) adapter), with an inbound "
                    "Hyper-V rule for its port; a gateway elsewhere needs nothing.");
    plan_note(plan, "In a fleet set the Hyper-V firewall by Intune (Firewall CSP: HyperVFirewallRules and "
                    "HyperVVMSettings), with AllowLocalPolicyMerge off, and WSL's own policies (AllowWSL1 off, custom "
                    "kernels and custom networking off).");
    plan_open(plan, "A distribution's root changes its own files; WSL 1 distributions are not behind the Hyper-V "
                    "firewall (the rules with -WholeMachine cover them); a custom kernel or debug shell is the "
                    "machine's administrator's to forbid.");
}

bool plan_wsl(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
              struct err *err) {
    if (!plan_rules(site, options->address, plan, err))
        return false;
    plan_scripts(site, plan);
    tell(plan);
    return true;
}
