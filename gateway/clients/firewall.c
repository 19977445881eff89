// SPDX-License-Identifier: Apache-2.0
//
// Egress rules: the ports that registries are on lead to the gateway and to what the site lists, and nowhere else.
//
// A packet filter knows addresses and no names, and a registry's addresses are those of a CDN that serves half of the
// web. So the rules do not list what is to be closed, but what is open: everything else on 443, 80 and 5000 is refused
// at once (a reset, so that clients fail fast rather than wait).

#include "gateway/clients/firewall.h"
#include "gateway/clients/clients.h"
#include "gateway/clients/common.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define NFT_FILE "/etc/nftables.d/pullgate.nft"
#define NFT_OWN "/etc/pullgate/firewall.d"
#define NFT_UNIT "/etc/systemd/system/pullgate-firewall.service"

// --- what is let through ---

/// "http://host:port" without its scheme.
static const char *after_scheme(const char *url) {
    const char *at = strstr(url, "://");
    return at != NULL ? at + strlen("://") : url;
}

/// Is the proxy on the gateway's own host?
static bool same_host(const struct client_site *site) {
    char *gateway = host_without_port(site->host), *proxy = host_without_port(after_scheme(site->proxy));
    bool same = strcmp(gateway, proxy) == 0;
    free(gateway);
    free(proxy);
    return same;
}

bool firewall_reach(const struct client_site *site, const char *address, struct firewall_reach *out, struct err *err) {
    *out = (struct firewall_reach){0};
    if (!reach_add(&out->gateway, address != NULL ? address : site->host))
        return err_set(err,
                       "%s has no address here, and rules made without it would keep this machine from the gateway; "
                       "give it with --address",
                       address != NULL ? address : site->host);
    if (site->proxy != NULL && (address == NULL || !same_host(site)))
        reach_add(&out->gateway, after_scheme(site->proxy));
    for (size_t i = 0; i < site->direct_count && i < REACH_HOSTS_MAX; i++)
        reach_add(&out->others, site->direct[i]);
    for (size_t i = 0; i < site->no_proxy_count && i < REACH_HOSTS_MAX; i++)
        reach_add(&out->others, site->no_proxy[i]);
    return true;
}

void firewall_reach_deinit(struct firewall_reach *reach) {
    reach_deinit(&reach->gateway);
    reach_deinit(&reach->others);
}

static void tell_unknown(const struct reach *r, struct client_plan *plan) {
    for (size_t i = 0; i < r->unknown_count; i++)
        plan_note(plan, "%s has no address that could be looked up: it is not let through. Add its addresses.",
                  r->unknown[i]);
}

void firewall_tell(const struct firewall_reach *reach, struct client_plan *plan) {
    tell_unknown(&reach->gateway, plan);
    tell_unknown(&reach->others, plan);
    plan_note(plan,
              "Not for the gateway's own machine, which has to reach the registries. A Kubernetes node needs its API "
              "server listed where that is on 443.");
    plan_note(plan, "The names were looked up now, on this machine. When an address changes, run this again.");
    plan_note(plan, "This closes the whole web on 443, 80 and 5000, not only the registries: their addresses are a "
                    "CDN's, shared with everything else. List what the machine needs in \"no_proxy\" of the gateway's "
                    "\"clients\", or add its addresses here.");
    plan_open(plan, "Other ports (a registry on 8443, SSH, a VPN, a proxy elsewhere), and whatever runs at an address "
                    "that is let through: a listed address that is a CDN's lets everything of that CDN through.");
    plan_open(plan, "Whoever administers the machine can take the rules away: `pullgate doctor --probe` sees that. A "
                    "firewall on the network's edge says the same with nobody to undo it.");
}

// --- nft ---

static void nft_set(struct buf *b, const char *what, const char *name, enum reach_family family,
                    const struct reach *r) {
    buf_addf(b, "\n    # %s\n    set %s {\n        type %s\n        flags interval\n        auto-merge\n", what, name,
             family == REACH_IPV4 ? "ipv4_addr" : "ipv6_addr");
    if (reach_family_count(r, family) > 0) {
        buf_adds(b, "        elements = { ");
        reach_text(r, family, b);
        buf_adds(b, " }\n");
    }
    buf_adds(b, "    }\n");
}

static void nft_sets(struct buf *b, const struct client_site *site, const struct firewall_reach *reach) {
    char *what = mem_printf("%s%s", site->host, site->proxy != NULL ? ", and its proxy that refuses" : "");
    nft_set(b, what, "gateway4", REACH_IPV4, &reach->gateway);
    nft_set(b, what, "gateway6", REACH_IPV6, &reach->gateway);
    free(what);
    nft_set(b, "What the site wants reached directly: `nft add element inet pullgate allowed4 { 192.0.2.0/24 }`",
            "allowed4", REACH_IPV4, &reach->others);
    nft_set(b, "The same for IPv6.", "allowed6", REACH_IPV6, &reach->others);
}

static const char nft_chains[] =
    "\n    chain egress {\n"
    "        # What was open before, and answers.\n"
    "        ct state established,related return\n"
    "        ip daddr 127.0.0.0/8 return\n"
    "        ip6 daddr ::1 return\n"
    "        ip daddr @gateway4 return\n"
    "        ip6 daddr @gateway6 return\n"
    "        ip daddr @allowed4 return\n"
    "        ip6 daddr @allowed6 return\n"
    "        # A reset and an ICMP error, so that clients fail at once.\n"
    "        tcp dport { 80, 443, 5000 } counter reject with tcp reset\n"
    "        # QUIC: the same web without TCP.\n"
    "        udp dport { 80, 443 } counter reject with icmpx type port-unreachable\n"
    "    }\n"
    "\n    # To containers on this machine; br-ex is an uplink's name.\n"
    "    chain leaving {\n"
    "        oifname \"docker*\" return\n"
    "        oifname \"br-*\" oifname != \"br-ex\" return\n"
    "        oifname \"cni*\" return\n"
    "        oifname \"podman*\" return\n"
    "        oifname \"flannel*\" return\n"
    "        oifname \"cali*\" return\n"
    "        oifname \"cilium*\" return\n"
    "        oifname \"lxc*\" return\n"
    "        oifname \"lxdbr*\" return\n"
    "        oifname { \"vxlan.calico\", \"tunl0\" } return\n"
    "        jump egress\n"
    "    }\n"
    "\n    # This machine's own processes, rootless containers among them.\n"
    "    chain output {\n"
    "        type filter hook output priority 10; policy accept;\n"
    "        jump leaving\n"
    "    }\n"
    "\n    # Containers and machines behind a bridge. Published ports (translated addresses) are no egress.\n"
    "    chain forward {\n"
    "        type filter hook forward priority 10; policy accept;\n"
    "        ct status dnat return\n"
    "        jump leaving\n"
    "    }\n"
    "}\n";

static char *nft_text(const struct client_site *site, const struct firewall_reach *reach) {
    struct buf b;
    buf_init(&b, CONF_TEXT_MAX);
    buf_addf(&b,
             "#!/usr/sbin/nft -f\n"
             "# Written by pullgate: TCP 443, 80 and 5000 and QUIC lead to %s, to what is listed here, and nowhere\n"
             "# else. Loading it again replaces the table; `nft delete table inet pullgate` takes it away.\n\n"
             "table inet pullgate\ndelete table inet pullgate\n\ntable inet pullgate {",
             site->host);
    nft_sets(&b, site, reach);
    buf_addf(&b,
             "%s\n# The site's own additions (\"add element inet pullgate allowed4 { … }\").\ninclude \"%s/*.nft\"\n",
             nft_chains, NFT_OWN);
    return buf_steal(&b);
}

static const char nft_unit[] = "# Written by pullgate: loads the egress rules at boot, before containers run, and "
                               "again after nftables' own rules,\n"
                               "# which begin by flushing everything.\n"
                               "[Unit]\n"
                               "Description=Egress rules of pullgate\n"
                               "Wants=network-pre.target\n"
                               "Before=network-pre.target docker.service containerd.service crio.service\n"
                               "After=nftables.service\n"
                               "PartOf=nftables.service\n"
                               "\n[Service]\n"
                               "Type=oneshot\n"
                               "RemainAfterExit=yes\n"
                               "ExecStart=/usr/sbin/nft -f " NFT_FILE "\n"
                               "ExecReload=/usr/sbin/nft -f " NFT_FILE "\n"
                               "\n[Install]\n"
                               "WantedBy=multi-user.target nftables.service\n";

static void plan_nft(const struct client_site *site, const struct firewall_reach *reach, struct client_plan *plan) {
    char *text = nft_text(site, reach);
    plan_text(plan, NFT_FILE, 0644, text);
    plan_text(plan, NFT_UNIT, 0644, nft_unit);
    plan_run(plan, "nft -c -f " NFT_FILE);
    plan_run(plan, "systemctl daemon-reload");
    plan_run(plan, "systemctl enable pullgate-firewall.service");
    plan_run(plan, "systemctl restart pullgate-firewall.service");
    plan_note(plan, "Without systemd: load it with `nft -f " NFT_FILE "` after the machine's other rules. `nft flush "
                    "ruleset` and the reload of other firewalls may take it away.");
    plan_open(plan, "Connections that were open before the rules were loaded; macvlan and ipvlan containers and "
                    "virtual machines that are bridged to the network, whose packets do not pass this machine's hooks; "
                    "privileged containers in the machine's own network.");
    firewall_tell(reach, plan);
    free(text);
}

// --- Windows ---

static void ps_list(struct buf *b, const char *name, const struct firewall_reach *reach, enum reach_family family) {
    struct reach all = {0};
    for (size_t i = 0; i < reach->gateway.count + reach->others.count; i++) {
        const struct cidr *c =
            i < reach->gateway.count ? &reach->gateway.blocks[i] : &reach->others.blocks[i - reach->gateway.count];
        all.blocks = mem_resize(all.blocks, all.count + 1, sizeof *all.blocks);
        all.blocks[all.count++] = *c;
    }
    reach_add(&all, family == REACH_IPV4 ? "127.0.0.0/8" : "::/127");
    buf_addf(b, "%s = @(", name);
    reach_others(&all, family, b);
    buf_adds(b, ")\n");
    reach_deinit(&all);
}

static const char ps_head[] =
    "# Written by pullgate; generated, not run: try it on one machine first. Run it as an administrator.\n"
    "# Windows lets a rule that blocks win over one that allows, so the rules block every address but those that are\n"
    "# let through. Running it again replaces the rules; -Remove takes them away.\n"
    "#Requires -RunAsAdministrator\n";

static const char ps_wsl[] =
    "\n# WSL: the Hyper-V firewall, for all distributions together, under NAT and under mirrored networking alike\n"
    "# (Windows 11 22H2 and later). A distribution's own root cannot change it.\n"
    "$wsl = '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}'\n"
    "if (Get-Command New-NetFirewallHyperVRule -ErrorAction SilentlyContinue) {\n"
    "    Get-NetFirewallHyperVRule -VMCreatorId $wsl -ErrorAction SilentlyContinue |\n"
    "        Where-Object { $_.Name -like 'pullgate-*' } | Remove-NetFirewallHyperVRule\n"
    "    if (-not $Remove) {\n"
    "        Set-NetFirewallHyperVVMSetting -Name $wsl -Enabled True\n"
    "        New-NetFirewallHyperVRule -Name 'pullgate-wsl-tcp' -DisplayName 'pullgate: registries (TCP)' `\n"
    "            -Direction Outbound -VMCreatorId $wsl -Protocol TCP -RemotePorts 80,443,5000 `\n"
    "            -RemoteAddresses $others -Action Block\n"
    "        New-NetFirewallHyperVRule -Name 'pullgate-wsl-quic' -DisplayName 'pullgate: registries (QUIC)' `\n"
    "            -Direction Outbound -VMCreatorId $wsl -Protocol UDP -RemotePorts 80,443 `\n"
    "            -RemoteAddresses $others -Action Block\n"
    "    }\n"
    "} else {\n"
    "    Write-Warning 'This Windows has no Hyper-V firewall: WSL distributions are not covered.'\n"
    "}\n";

static const char ps_host[] =
    "\n# Windows itself: the programs that pull images; with -WholeMachine every program (browsers too).\n"
    "Get-NetFirewallRule -Group 'pullgate' -ErrorAction SilentlyContinue | Remove-NetFirewallRule\n"
    "$docker = Join-Path $env:ProgramFiles 'Docker'\n"
    "$programs = @(\n"
    "    (Join-Path $docker 'Docker\\resources\\com.docker.backend.exe'),\n"
    "    (Join-Path $docker 'Docker\\resources\\dockerd.exe'),\n"
    "    (Join-Path $docker 'Docker\\resources\\bin\\docker.exe'),\n"
    "    (Join-Path $docker 'cli-plugins\\docker-buildx.exe'),\n"
    "    (Join-Path $docker 'dockerd.exe'),\n"
    "    (Join-Path $env:ProgramFiles 'containerd\\bin\\containerd.exe'),\n"
    "    (Join-Path $env:ProgramFiles 'RedHat\\Podman\\podman.exe'),\n"
    "    (Join-Path $env:ProgramFiles 'RedHat\\Podman\\gvproxy.exe'))\n"
    "if ($WholeMachine) { $programs = @('Any') }\n"
    "if (-not $Remove) {\n"
    "    foreach ($program in $programs) {\n"
    "        $leaf = Split-Path $program -Leaf\n"
    "        New-NetFirewallRule -Group 'pullgate' -DisplayName \"pullgate: $leaf (TCP)\" -Direction Outbound `\n"
    "            -Action Block -Profile Any -Program $program -Protocol TCP -RemotePort 80,443,5000 `\n"
    "            -RemoteAddress $others\n"
    "        New-NetFirewallRule -Group 'pullgate' -DisplayName \"pullgate: $leaf (QUIC)\" -Direction Outbound `\n"
    "            -Action Block -Profile Any -Program $program -Protocol UDP -RemotePort 80,443 `\n"
    "            -RemoteAddress $others\n"
    "    }\n"
    "}\n";

char *firewall_windows(const struct client_site *site, const struct firewall_reach *reach) {
    struct buf b;
    buf_init(&b, CONF_TEXT_MAX);
    buf_addf(&b, "%sparam([switch]$WholeMachine, [switch]$Remove)\n\n", ps_head);
    buf_addf(&b,
             "# Every address but this machine's own, %s and what the site lists, as looked up when this was made.\n",
             site->host);
    ps_list(&b, "$others4", reach, REACH_IPV4);
    ps_list(&b, "$others6", reach, REACH_IPV6);
    buf_adds(&b, "$others = $others4 + $others6\n");
    buf_adds(&b, ps_wsl);
    buf_adds(&b, ps_host);
    return buf_steal(&b);
}

static void plan_windows(const struct client_site *site, const struct firewall_reach *reach, struct client_plan *plan) {
    char *text = firewall_windows(site, reach);
    plan_text(plan, FIREWALL_WINDOWS, 0644, text);
    plan_run(plan, "powershell.exe -ExecutionPolicy Bypass -File pullgate-firewall.ps1");
    plan_note(plan, "Generated, not run: nothing here was tried on Windows.");
    plan_note(plan, "In a fleet give the same rules by group policy or Intune (Firewall CSP, HyperVFirewallRules), "
                    "where a user cannot remove them.");
    plan_open(plan, "Without -WholeMachine, Windows programs other than those that are named reach every registry: "
                    "a crane.exe, a copy of docker.exe under another name. Windows before 11 22H2 has no rules for "
                    "WSL.");
    firewall_tell(reach, plan);
    free(text);
}

bool plan_firewall(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                   struct err *err) {
    struct firewall_reach reach;
    bool ok = firewall_reach(site, options->address, &reach, err);
    if (ok && (options->nft || !options->windows))
        plan_nft(site, &reach, plan);
    if (ok && options->windows)
        plan_windows(site, &reach, plan);
    firewall_reach_deinit(&reach);
    return ok;
}
