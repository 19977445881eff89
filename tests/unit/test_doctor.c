// SPDX-License-Identifier: Apache-2.0
//
// Configurations of clients, and what doctor says of each: which is closed, which is open, and by which finding. The
// rows are what was seen of those clients with Docker Hub reachable and a gateway that refuses or is down.

#include "gateway/doctor/doctor.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MIRRORS "\"registry-mirrors\":[\"https://gw.test\"]"
#define PROXIES                                                                                                        \
    "\"proxies\":{\"http-proxy\":\"http://gw.test:3128\",\"https-proxy\":\"http://"                                    \
    "gw.test:3128\",\"no-proxy\":\"gw.test\"}"
#define CONTAINERD_STORE "\"features\":{\"containerd-snapshotter\":true}"
#define CLASSIC_STORE "\"features\":{\"containerd-snapshotter\":false}"
#define SERVER "server = \"https://gw.test\"\ncapabilities = [\"pull\", \"resolve\"]\n"
#define MARK "\xef\xbb\xbf"
#define DEFAULT "/etc/docker/certs.d/_default/hosts.toml"
#define DAEMON "/etc/docker/daemon.json"
#define CONTAINERD_DEFAULT "/etc/containerd/certs.d/_default/hosts.toml"
#define CONTAINERD_CONFIG                                                                                              \
    "/etc/containerd/config.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = "     \
                                   "\"/etc/containerd/certs.d\"\n"
#define UNIT(name)                                                                                                     \
    "/etc/systemd/system/" name ".service.d/x.conf",                                                                   \
        "[Service]\nEnvironment=HTTP_PROXY=http://gw.test:3128 HTTPS_PROXY=http://gw.test:3128 NO_PROXY=gw.test\n"
#define BUILDKITD "/etc/buildkit/buildkitd.toml"
#define BUILDKIT_MIRRORS                                                                                               \
    "[registry.\"docker.io\"]\nmirrors = [\"gw.test\"]\n[registry.\"ghcr.io\"]\nmirrors = [\"gw.test\"]\n"
#define CONTAINERS "/etc/containers/registries.conf"
#define REMAPPED                                                                                                       \
    "[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw.test/docker.io\"\n"                                         \
    "[[registry]]\nprefix = \"ghcr.io\"\nlocation = \"gw.test/ghcr.io\"\n"
#define MIRRORED                                                                                                       \
    "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"gw.test/docker.io\"\n"                  \
    "[[registry]]\nlocation = \"ghcr.io\"\n[[registry.mirror]]\nlocation = \"gw.test/ghcr.io\"\n"
#define BLOCKED                                                                                                        \
    "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"gw.test/docker.io\"\n"  \
    "[[registry]]\nlocation = \"ghcr.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"gw.test/ghcr.io\"\n"
#define POLICY                                                                                                         \
    "/etc/containers/policy.json",                                                                                     \
        "{\"default\":[{\"type\":\"insecureAcceptAnything\"}],\"transports\":{\"docker\":{\"\":[{\"type\":"            \
        "\"reject\"}],\"docker.io\":[{\"type\":\"insecureAcceptAnything\"}],\"ghcr.io\":[{\"type\":"                   \
        "\"insecureAcceptAnything\"}]}}}"
#define RANCHER "/etc/rancher/k3s/registries.yaml"
#define RANCHER_EVERY "mirrors:\n  \"*\":\n    endpoint:\n      - https://gw.test\n"
#define RANCHER_FLAG "/etc/rancher/k3s/config.yaml", "disable-default-registry-endpoint: true\n"

enum { FILES_MAX = 8, CODES_TEXT = 256 };

struct row {
    const char *why;
    const char *client;
    unsigned major;
    const char *files[2 * FILES_MAX + 1]; ///< Path, text; a path that ends with '/' is an empty directory (text "").
    const char *open;                     ///< Codes of its open findings, sorted, each once; "" closed.
};

static const struct row rows[] = {
    // Docker Engine 29, containerd store.
    {"nothing configured", "docker", 29, {NULL}, "unused"},
    {"registry-mirrors alone goes to Hub", "docker", 29, {DAEMON, "{" MIRRORS "}"}, "fallback"},
    {"server= alone is closed", "docker", 29, {DEFAULT, SERVER}, ""},
    {"server= and an empty [host]", "docker", 29, {DEFAULT, SERVER "[host]\n"}, ""},
    {"mirrors and server= together", "docker", 29, {DAEMON, "{" MIRRORS "}", DEFAULT, SERVER}, ""},
    {"[host] without server", "docker", 29, {DEFAULT, "[host.\"https://gw.test\"]\n"}, "host_without_server"},
    {"[host] without server behind the proxy",
     "docker",
     29,
     {DEFAULT, "[host.\"https://gw.test\"]\n", DAEMON, "{" MIRRORS "," PROXIES "}"},
     ""},
    {"docker.io's directory covers docker.io alone",
     "docker",
     29,
     {"/etc/docker/certs.d/docker.io/hosts.toml", SERVER},
     "unused"},
    {"a directory with a CA alone wins over _default",
     "docker",
     29,
     {DEFAULT, SERVER, "/etc/docker/certs.d/ghcr.io/ca.crt", "x"},
     "host_directory"},
    {"an empty directory wins too",
     "docker",
     29,
     {DEFAULT, SERVER, "/etc/docker/certs.d/ghcr.io/", ""},
     "host_directory"},
    {"an empty hosts.toml wins too",
     "docker",
     29,
     {DEFAULT, SERVER, "/etc/docker/certs.d/ghcr.io/hosts.toml", ""},
     "host_directory"},
    {"a directory that names the gateway may stay",
     "docker",
     29,
     {DEFAULT, SERVER, "/etc/docker/certs.d/ghcr.io/hosts.toml", SERVER},
     ""},
    {"the gateway's own directory may stay",
     "docker",
     29,
     {DEFAULT, SERVER, "/etc/docker/certs.d/gw.test/ca.crt", "x"},
     ""},
    {"a registry that is meant to be direct may stay",
     "docker",
     29,
     {DEFAULT, SERVER, "/etc/docker/certs.d/direct.test_5000_/", ""},
     ""},
    {"what was moved aside may stay",
     "docker",
     29,
     {DEFAULT, SERVER, "/etc/docker/certs.d/ghcr.io.pullgate-aside/", ""},
     ""},
    {"a typing error opens everything", "docker", 29, {DEFAULT, "server = \"https://gw.test\n"}, "unparsable"},
    {"a typing error behind the proxy",
     "docker",
     29,
     {DEFAULT, "server = \"\n", DAEMON, "{" MIRRORS "," PROXIES "}"},
     ""},
    {"a byte order mark opens everything", "docker", 29, {DEFAULT, "\xef\xbb\xbf" SERVER}, "unparsable"},
    {"lines as Windows ends them", "docker", 29, {DEFAULT, "server = \"https://gw.test\"\r\n[host]\r\n"}, ""},
    {"a wrong type", "docker", 29, {DEFAULT, "server = \"https://gw.test\"\ncapabilities = \"pull\"\n"}, "wrong_type"},
    {"an unknown capability",
     "docker",
     29,
     {DEFAULT, "server = \"https://gw.test\"\ncapabilities = [\"frobnicate\"]\n"},
     "unknown_capability"},
    {"another mirror",
     "docker",
     29,
     {DAEMON, "{\"registry-mirrors\":[\"https://other.test\",\"https://gw.test\"]}", DEFAULT, SERVER},
     "other_mirror"},
    {"another server", "docker", 29, {DEFAULT, "server = \"https://other.test\"\n"}, "other_mirror"},
    {"the gateway's name at another port is not the gateway",
     "docker",
     29,
     {DEFAULT, "server = \"https://gw.test:8443\"\n"},
     "other_mirror"},
    {"the gateway without TLS is not the gateway",
     "docker",
     29,
     {DEFAULT, "server = \"http://gw.test\"\n"},
     "other_mirror"},
    {"skip_verify", "docker", 29, {DEFAULT, SERVER "skip_verify = true\n"}, "insecure_registry"},
    {"insecure-registries",
     "docker",
     29,
     {DAEMON, "{\"insecure-registries\":[\"evil.test\"]}", DEFAULT, SERVER},
     "insecure_registry"},
    {"the gateway insecure, behind the proxy too",
     "docker",
     29,
     {DAEMON, "{\"insecure-registries\":[\"gw.test\"]," PROXIES "," MIRRORS "}", DEFAULT, SERVER},
     "insecure_registry"},
    {"this machine insecure is docker's own default",
     "docker",
     29,
     {DAEMON, "{\"insecure-registries\":[\"127.0.0.0/8\",\"localhost:5000\"]}", DEFAULT, SERVER},
     ""},
    {"daemon.json that does not parse", "docker", 29, {DAEMON, "{", DEFAULT, SERVER}, "unparsable"},
    {"a byte order mark in daemon.json is passed over", "docker", 29, {DAEMON, MARK "{}", DEFAULT, SERVER}, ""},
    {"what stands behind the mark counts", "docker", 23, {DAEMON, MARK "{" MIRRORS "," PROXIES "}"}, ""},
    {"20.10 does not start with the mark", "docker", 20, {DAEMON, MARK "{}"}, "unparsable"},
    {"a version that is not known may be such", "docker", 0, {DAEMON, MARK "{}", DEFAULT, SERVER}, "unparsable"},

    // The classic store.
    {"20.10 with a mirror", "docker", 20, {DAEMON, "{" MIRRORS "}"}, "fallback no_proxy"},
    {"20.10 reads no hosts.toml", "docker", 20, {DEFAULT, SERVER}, "no_proxy unused"},
    {"20.10 with a mirror and the proxy's environment", "docker", 20, {DAEMON, "{" MIRRORS "}", UNIT("docker")}, ""},
    {"20.10 does not start with proxies", "docker", 20, {DAEMON, "{" MIRRORS "," PROXIES "}"}, "unknown_key"},
    {"29's classic store with both",
     "docker",
     29,
     {DAEMON, "{" CLASSIC_STORE "," MIRRORS "," PROXIES "}", DEFAULT, SERVER},
     ""},
    {"29's classic store with hosts.toml alone",
     "docker",
     29,
     {DAEMON, "{" CLASSIC_STORE "}", DEFAULT, SERVER},
     "no_proxy unused"},
    {"29 that has images of the classic store",
     "docker",
     29,
     {DEFAULT, SERVER, "/var/lib/docker/overlay2/l/", ""},
     "no_proxy unused"},
    {"a version that is not known may have either store", "docker", 0, {DEFAULT, SERVER}, "no_proxy unused"},
    {"a proxy for https alone",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://gw.test:3128\n"},
     "fallback no_proxy"},
    {"another proxy",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://other.test HTTP_PROXY=http://other.test\n"},
     "fallback"},
    {"Docker Hub excepted from the proxy",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://gw.test:3128 HTTP_PROXY=http://gw.test:3128 NO_PROXY=.docker.io\n"},
     "fallback proxy_exception"},
    {"everything excepted from the proxy",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://gw.test:3128 HTTP_PROXY=http://gw.test:3128 NO_PROXY=*\n"},
     "fallback proxy_exception"},

    {"29 where the classic store's folder is empty",
     "docker",
     29,
     {DEFAULT, SERVER, "/var/lib/docker/overlay2/", ""},
     ""},
    {"29 with images of the classic store elsewhere",
     "docker",
     29,
     {DEFAULT, SERVER, DAEMON, "{\"data-root\":\"/srv/docker\"}", "/srv/docker/btrfs/x", ""},
     "no_proxy unused"},
    {"29 with a driver of the classic store",
     "docker",
     29,
     {DEFAULT, SERVER, DAEMON, "{\"storage-driver\":\"overlay2\"}"},
     "no_proxy unused"},
    {"28 reads no hosts.toml, whatever its store",
     "docker",
     28,
     {DEFAULT, SERVER, DAEMON, "{" CONTAINERD_STORE "," MIRRORS "}"},
     "fallback no_proxy"},
    {"a unit that names another daemon.json",
     "docker",
     29,
     {DEFAULT, SERVER, "/usr/lib/systemd/system/docker.service",
      "[Service]\nExecStart=/usr/bin/dockerd --config-file=/opt/d.json\n", "/opt/d.json", "{" CLASSIC_STORE "}"},
     "no_proxy unused"},
    {"a drop-in that starts it with flags",
     "docker",
     29,
     {DEFAULT, SERVER, "/usr/lib/systemd/system/docker.service", "[Service]\nExecStart=/usr/bin/dockerd\n",
      "/etc/systemd/system/docker.service.d/a.conf",
      "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd \\\n  --feature containerd-snapshotter=false\n"},
     "no_proxy unused"},
    {"flags in a variable, as Debian has them",
     "docker",
     29,
     {DEFAULT, SERVER, "/lib/systemd/system/docker.service",
      "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n",
      "/etc/default/docker", "DOCKER_OPTS=\"--registry-mirror https://other.test\"\n"},
     "other_mirror"},
    {"daemon.json's proxies with exceptions of the environment's",
     "docker",
     29,
     {DAEMON,
      "{" CLASSIC_STORE "," MIRRORS
      ",\"proxies\":{\"http-proxy\":\"http://gw.test:3128\",\"https-proxy\":\"http://gw.test:3128\"}}",
      "/etc/systemd/system/docker.service.d/x.conf", "[Service]\nEnvironment=NO_PROXY=*\n"},
     "fallback proxy_exception"},
    {"a registry that the site does not serve excepted",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://gw.test:3128 HTTP_PROXY=http://gw.test:3128 "
      "NO_PROXY=gw.test,quay.io\n"},
     "fallback proxy_exception"},
    {"a whole ending excepted",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://gw.test:3128 HTTP_PROXY=http://gw.test:3128 NO_PROXY=com\n"},
     "fallback proxy_exception"},
    {"the company's own hosts excepted",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://gw.test:3128 HTTP_PROXY=http://gw.test:3128 "
      "NO_PROXY=localhost,127.0.0.1,10.0.0.0/8,.corp.test,gw.test\n"},
     ""},
    {"a name in capitals wins over one in small letters",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", "/etc/systemd/system/docker.service.d/x.conf",
      "[Service]\nEnvironment=HTTPS_PROXY=http://o.test HTTP_PROXY=http://o.test\n"
      "Environment=https_proxy=http://gw.test:3128 http_proxy=http://gw.test:3128\n"},
     "fallback"},
    {"a proxy that is taken away again",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", UNIT("docker"), "/etc/systemd/system/docker.service.d/y.conf",
      "[Service]\nUnsetEnvironment=HTTPS_PROXY\n"},
     "fallback no_proxy"},
    {"a drop-in for every service",
     "docker",
     20,
     {DAEMON, "{" MIRRORS "}", UNIT("docker"), "/etc/systemd/system/service.d/y.conf",
      "[Service]\nEnvironment = NO_PROXY=.docker.io\n"},
     "fallback proxy_exception"},
    {"every address insecure, the gateway's too",
     "docker",
     29,
     {DAEMON, "{\"insecure-registries\":[\"0.0.0.0/0\"]," PROXIES "," MIRRORS "}", DEFAULT, SERVER},
     "insecure_registry"},
    {"a dial_timeout that is no duration", "docker", 29, {DEFAULT, SERVER "dial_timeout = \"5\"\n"}, "wrong_type"},
    {"a dial_timeout", "docker", 29, {DEFAULT, SERVER "dial_timeout = \"1m30.5s\"\n"}, ""},
    {"a user's own daemon",
     "docker",
     29,
     {DEFAULT, SERVER, "/home/alice/.local/share/docker/", ""},
     "user_configuration"},
    {"a user's own daemon, configured as well",
     "docker",
     29,
     {DEFAULT, SERVER, "/home/alice/.config/docker/certs.d/_default/hosts.toml", SERVER},
     ""},
    {"a builder with a daemon of its own",
     "docker",
     29,
     {DEFAULT, SERVER, "/home/alice/.docker/buildx/instances/b",
      "{\"Name\":\"b\",\"Driver\":\"docker-container\",\"Nodes\":[{\"Name\":\"b0\"}]}"},
     "own_builder"},
    {"a builder with the proxy",
     "docker",
     29,
     {DEFAULT, SERVER, "/home/alice/.docker/buildx/instances/b",
      "{\"Name\":\"b\",\"Driver\":\"docker-container\",\"Nodes\":[{\"Name\":\"b0\",\"DriverOpts\":{\"env.HTTP_PROXY\":"
      "\"http://gw.test:3128\",\"env.HTTPS_PROXY\":\"http://gw.test:3128\"}}]}"},
     ""},
    {"dockerd's own builder",
     "docker",
     29,
     {DEFAULT, SERVER, "/home/alice/.docker/buildx/instances/b", "{\"Name\":\"b\",\"Driver\":\"docker\"}"},
     ""},

    // containerd.
    {"containerd without config_path", "containerd", 2, {CONTAINERD_DEFAULT, SERVER}, "unused"},
    {"containerd 2 with a bare server", "containerd", 2, {CONTAINERD_CONFIG, CONTAINERD_DEFAULT, SERVER}, ""},
    {"containerd 1.6 ignores a bare server",
     "containerd",
     1,
     {CONTAINERD_CONFIG, CONTAINERD_DEFAULT, SERVER},
     "unparsable"},
    {"containerd 1.6 with an empty [host]",
     "containerd",
     1,
     {CONTAINERD_CONFIG, CONTAINERD_DEFAULT, SERVER "[host]\n"},
     ""},
    {"containerd with [host] alone",
     "containerd",
     2,
     {CONTAINERD_CONFIG, CONTAINERD_DEFAULT, "[host.\"https://gw.test\"]\n"},
     "host_without_server"},
    {"containerd with [host] alone behind the proxy",
     "containerd",
     2,
     {CONTAINERD_CONFIG, CONTAINERD_DEFAULT, "[host.\"https://gw.test\"]\n", UNIT("containerd")},
     ""},
    {"containerd with another directory",
     "containerd",
     2,
     {CONTAINERD_CONFIG, CONTAINERD_DEFAULT, SERVER, "/etc/containerd/certs.d/quay.io_443_/", ""},
     "host_directory"},
    {"containerd's old mirrors",
     "containerd",
     1,
     {"/etc/containerd/config.toml",
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n"
      "endpoint = [\"https://gw.test\"]\n"},
     "fallback"},
    {"config_path in another version's place",
     "containerd",
     2,
     {"/etc/containerd/config.toml",
      "version = 3\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER},
     "unknown_key unused"},
    {"an imported file that leads elsewhere",
     "containerd",
     2,
     {"/etc/containerd/config.toml",
      "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"
      "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER, "/etc/containerd/conf.d/a.toml",
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/elsewhere\"\n"},
     "unused"},
    {"config.toml that does not parse", "containerd", 2, {"/etc/containerd/config.toml", "= 1\n"}, "unparsable"},

    {"an imported file of 1.x that takes the plugin's table whole",
     "containerd",
     1,
     {"/etc/containerd/config.toml",
      "version = 2\nimports = [\"conf.d/*.toml\"]\n"
      "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER "[host]\n", "/etc/containerd/conf.d/a.toml",
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"x\"\n"},
     "unused"},
    {"which 2.x merges",
     "containerd",
     2,
     {"/etc/containerd/config.toml",
      "version = 2\nimports = [\"conf.d/*.toml\"]\n"
      "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER "[host]\n", "/etc/containerd/conf.d/a.toml",
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"x\"\n"},
     ""},
    {"an imported file that imports another, which takes it back",
     "containerd",
     2,
     {"/etc/containerd/config.toml",
      "version = 2\nimports = [\"a.toml\"]\n"
      "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER, "/etc/containerd/a.toml", "version = 2\nimports = [\"/opt/b.toml\", \"a.toml\"]\n",
      "/opt/b.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n"},
     "unused"},
    {"two folders, of which the first has an empty _default",
     "containerd",
     1,
     {"/etc/containerd/config.toml",
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
      "config_path = \"/opt/certs.d:/etc/containerd/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER "[host]\n", "/opt/certs.d/_default/", ""},
     "unused"},
    {"two folders, of which the second is closed",
     "containerd",
     1,
     {"/etc/containerd/config.toml",
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
      "config_path = \"/opt/certs.d:/etc/containerd/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER "[host]\n", "/opt/certs.d/", ""},
     ""},
    {"two folders, which 2.1 takes for one",
     "containerd",
     2,
     {"/etc/containerd/config.toml",
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
      "config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"\n",
      CONTAINERD_DEFAULT, SERVER},
     "unused"},
    {"a unit that names another config.toml",
     "containerd",
     2,
     {CONTAINERD_CONFIG, CONTAINERD_DEFAULT, SERVER, "/lib/systemd/system/containerd.service",
      "[Service]\nExecStart=/usr/bin/containerd -c /opt/c.toml\n", "/opt/c.toml", "version = 2\n"},
     "unused"},

    // nerdctl.
    {"nerdctl",
     "nerdctl",
     2,
     {CONTAINERD_DEFAULT, SERVER, "/etc/nerdctl/nerdctl.toml", "hosts_dir = [\"/etc/containerd/certs.d\"]\n"},
     ""},
    {"nerdctl without any", "nerdctl", 2, {NULL}, "unused"},

    {"nerdctl's first folder decides",
     "nerdctl",
     2,
     {"/etc/docker/certs.d/_default/hosts.toml", SERVER, "/etc/containerd/certs.d/_default/", ""},
     "unused"},
    {"a nerdctl that checks no certificate",
     "nerdctl",
     2,
     {CONTAINERD_DEFAULT, SERVER, "/etc/nerdctl/nerdctl.toml", "insecure_registry = true\n"},
     "insecure_registry"},
    {"a user's own nerdctl",
     "nerdctl",
     2,
     {CONTAINERD_DEFAULT, SERVER, "/home/alice/.config/nerdctl/nerdctl.toml", "debug = false\n"},
     "user_configuration"},

    // buildkitd.
    {"buildkitd without a file", "buildkit", 0, {NULL}, "unused"},
    {"mirrors alone", "buildkit", 0, {BUILDKITD, BUILDKIT_MIRRORS}, "fallback no_proxy"},
    {"mirrors and the proxy's environment", "buildkit", 0, {BUILDKITD, BUILDKIT_MIRRORS, UNIT("buildkit")}, ""},
    {"a registry that is not listed",
     "buildkit",
     0,
     {BUILDKITD, "[registry.\"docker.io\"]\nmirrors = [\"gw.test\"]\n"},
     "fallback no_proxy unlisted_registry"},
    {"a wildcard means nothing",
     "buildkit",
     0,
     {BUILDKITD, "[registry.\"*\"]\nmirrors = [\"gw.test\"]\n"},
     "fallback no_proxy unlisted_registry"},
    {"another mirror",
     "buildkit",
     0,
     {BUILDKITD, BUILDKIT_MIRRORS "[registry.\"quay.io\"]\nmirrors = [\"gw.test\"]\n", UNIT("buildkit")},
     ""},
    {"the gateway insecure",
     "buildkit",
     0,
     {BUILDKITD, BUILDKIT_MIRRORS "[registry.\"gw.test\"]\ninsecure = true\n", UNIT("buildkit")},
     "insecure_registry"},
    {"a file that does not parse", "buildkit", 0, {BUILDKITD, "[registry\n"}, "unparsable"},

    {"mirrors of registries that the site does not serve, none at the gateway",
     "buildkit",
     0,
     {BUILDKITD, "[worker.oci]\n"},
     "unlisted_registry unused"},
    {"a unit that names another buildkitd.toml",
     "buildkit",
     0,
     {BUILDKITD, BUILDKIT_MIRRORS, "/etc/systemd/system/buildkit.service",
      "[Service]\nExecStart=/usr/bin/buildkitd --config /opt/b.toml\n"},
     "unused"},
    {"a user's own buildkitd",
     "buildkit",
     0,
     {BUILDKITD, BUILDKIT_MIRRORS, UNIT("buildkit"), "/home/alice/.config/buildkit/buildkitd.toml", ""},
     "user_configuration"},

    // podman, buildah, skopeo, CRI-O.
    {"nothing configured", "podman", 4, {NULL}, "unlisted_registry unused"},
    {"a mirror falls back in silence", "podman", 4, {CONTAINERS, MIRRORED, POLICY}, "fallback"},
    {"blocked with a mirror is closed", "podman", 4, {CONTAINERS, BLOCKED, POLICY}, ""},
    {"another location is closed", "podman", 4, {CONTAINERS, REMAPPED, POLICY}, ""},
    {"other registries without a policy", "podman", 4, {CONTAINERS, REMAPPED}, "unlisted_registry"},
    {"a repository that leads elsewhere",
     "podman",
     4,
     {CONTAINERS, REMAPPED, POLICY, "/etc/containers/registries.conf.d/x.conf",
      "[[registry]]\nprefix = \"docker.io/evil\"\nlocation = \"docker.io/evil\"\n"},
     "other_mirror"},
    {"a later drop-in that wins",
     "podman",
     4,
     {CONTAINERS, REMAPPED, POLICY, "/etc/containers/registries.conf.d/x.conf",
      "[[registry]]\nlocation = \"docker.io\"\n"},
     "unused"},
    {"a user's own registries.conf",
     "podman",
     4,
     {CONTAINERS, REMAPPED, POLICY, "/home/alice/.config/containers/registries.conf",
      "[[registry]]\nlocation = "
      "\"docker.io\"\n"},
     "user_configuration"},
    {"a user's own policy",
     "skopeo",
     1,
     {CONTAINERS, REMAPPED, POLICY, "/home/alice/.config/containers/policy.json", "{}"},
     "user_configuration"},
    {"a user's drop-in that says nothing of registries",
     "buildah",
     1,
     {CONTAINERS, REMAPPED, POLICY, "/home/alice/.config/containers/registries.conf.d/a.conf",
      "short-name-mode = \"enforcing\"\n"},
     ""},
    {"CRI-O reads no user's files",
     "cri-o",
     1,
     {CONTAINERS, REMAPPED, POLICY, "/home/alice/.config/containers/registries.conf", ""},
     ""},
    {"the gateway insecure",
     "podman",
     4,
     {CONTAINERS, REMAPPED "[[registry]]\nlocation = \"gw.test\"\ninsecure = true\n", POLICY},
     "insecure_registry"},
    {"a file that does not parse", "podman", 4, {CONTAINERS, "[[registry]\n", POLICY}, "unparsable unused"},
    {"a policy that does not parse",
     "podman",
     4,
     {CONTAINERS, REMAPPED, "/etc/containers/policy.json", "{"},
     "unlisted_registry unparsable"},

    {"a blocked repository with a mirror elsewhere",
     "podman",
     4,
     {CONTAINERS, REMAPPED, POLICY, "/etc/containers/registries.conf.d/x.conf",
      "[[registry]]\nprefix = \"docker.io/evil\"\nlocation = \"docker.io/evil\"\nblocked = true\n"
      "[[registry.mirror]]\nlocation = \"evil.test\"\n"},
     "other_mirror"},
    {"a repository at the gateway with a mirror elsewhere",
     "podman",
     4,
     {CONTAINERS, REMAPPED, POLICY, "/etc/containers/registries.conf.d/x.conf",
      "[[registry]]\nprefix = \"docker.io/evil\"\nlocation = \"gw.test/docker.io/evil\"\n"
      "[[registry.mirror]]\nlocation = \"evil.test\"\n"},
     "other_mirror"},
    {"a registry that the policy lets through, as distributions have theirs",
     "podman",
     4,
     {CONTAINERS, REMAPPED, "/etc/containers/policy.json",
      "{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"docker\":{\"docker.io\":[{\"type\":"
      "\"insecureAcceptAnything\"}],\"registry.redhat.test\":[{\"type\":\"signedBy\"}]}}}"},
     "unlisted_registry"},
    {"a mirror at the gateway that is not checked",
     "podman",
     4,
     {CONTAINERS,
      REMAPPED "[[registry]]\nlocation = \"quay.io\"\nblocked = true\n[[registry.mirror]]\nlocation = "
               "\"gw.test/quay.io\"\ninsecure = true\n",
      POLICY},
     "insecure_registry"},
    {"another file for everybody",
     "podman",
     4,
     {CONTAINERS, REMAPPED, POLICY, "/etc/environment", "CONTAINERS_REGISTRIES_CONF=/opt/r.conf\n"},
     "user_configuration"},
    {"CRI-O with another policy",
     "cri-o",
     1,
     {CONTAINERS, REMAPPED, POLICY, "/etc/crio/crio.conf.d/x.conf",
      "[crio.image]\nsignature_policy = \"/etc/crio/policy.json\"\n", "/etc/crio/policy.json",
      "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}"},
     "unlisted_registry"},
    {"CRI-O that does not check the gateway",
     "cri-o",
     1,
     {CONTAINERS, REMAPPED, POLICY, "/etc/crio/crio.conf", "[crio.image]\ninsecure_registries = [\"gw.test\"]\n"},
     "insecure_registry"},

    // k3s.
    {"k3s without a file", "k3s", 1, {NULL}, "unused"},
    {"k3s with both", "k3s", 1, {RANCHER, RANCHER_EVERY, RANCHER_FLAG}, ""},
    {"k3s without the flag", "k3s", 1, {RANCHER, RANCHER_EVERY}, "fallback"},
    {"k3s without the flag behind the proxy",
     "k3s",
     1,
     {RANCHER, RANCHER_EVERY, "/etc/systemd/system/k3s.service.d/x.conf",
      "[Service]\nEnvironment=CONTAINERD_HTTP_PROXY=http://gw.test:3128 CONTAINERD_HTTPS_PROXY=http://gw.test:3128\n"},
     ""},
    {"k3s with one registry alone",
     "k3s",
     1,
     {RANCHER, "mirrors:\n  docker.io:\n    endpoint: [\"https://gw.test\"]\n", RANCHER_FLAG},
     "unlisted_registry"},
    {"k3s with another endpoint",
     "k3s",
     1,
     {RANCHER, RANCHER_EVERY "  quay.io:\n    endpoint:\n      - https://other.test\n", RANCHER_FLAG},
     "other_mirror"},
    {"k3s with a password for a registry",
     "k3s",
     1,
     {RANCHER, RANCHER_EVERY "configs:\n  ghcr.io:\n    auth:\n      username: a\n", RANCHER_FLAG},
     "host_directory"},
    {"a later drop-in takes the flag back",
     "k3s",
     1,
     {RANCHER, RANCHER_EVERY, RANCHER_FLAG, "/etc/rancher/k3s/config.yaml.d/z.yaml",
      "disable-default-registry-endpoint: false\n"},
     "fallback"},
    {"k3s that reads another registries.yaml",
     "k3s",
     1,
     {RANCHER, RANCHER_EVERY, "/etc/rancher/k3s/config.yaml",
      "disable-default-registry-endpoint: true\nprivate-registry: /opt/r.yaml\n", "/opt/r.yaml", "mirrors: {}\n"},
     "unused"},
    {"k3s with the flag on its command line",
     "k3s",
     1,
     {RANCHER, RANCHER_EVERY, "/etc/systemd/system/k3s.service",
      "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--disable-default-registry-endpoint' \\\n"},
     ""},
    {"registries.yaml that does not parse", "k3s", 1, {RANCHER, "mirrors: [\n", RANCHER_FLAG}, "unparsable"},
};

static const char site_text[] =
    "{\"format\":1,\"gateway\":\"https://gw.test\",\"proxy\":\"http://"
    "gw.test:3128\",\"registries\":[{\"name\":\"docker.io\","
    "\"hosts\":[\"registry-1.docker.io\"]},{\"name\":\"ghcr.io\",\"hosts\":[\"ghcr.io\"]}],\"direct\":[\"direct.test:"
    "5000\"]}";

// --- folders ---

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
}

static void put(const char *root, const char *path, const char *text) {
    char whole[PATH_MAX];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    make_folders(whole);
    if (whole[strlen(whole) - 1] == '/')
        return;
    FILE *out = fopen(whole, "we");
    cr_assert_not_null(out, "%s", whole);
    fputs(text, out);
    fclose(out);
}

static void clear(const char *root) {
    char *command = mem_printf("rm -rf -- '%s'", root);
    cr_assert_eq(system(command), 0);
    free(command);
}

// --- what was found ---

static int compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void open_codes(const struct report *r, char out[CODES_TEXT]) {
    const char *codes[100];
    size_t count, found = 0, len = 0;
    const struct finding *findings = report_findings(r, &count);
    for (size_t i = 0; i < count && found < 100; i++)
        if (findings[i].severity == FINDING_OPEN)
            codes[found++] = findings[i].code;
    qsort(codes, found, sizeof *codes, compare);
    out[0] = '\0';
    for (size_t i = 0; i < found; i++)
        if (i == 0 || strcmp(codes[i], codes[i - 1]) != 0)
            len += (size_t)snprintf(out + len, CODES_TEXT - len, "%s%s", len > 0 ? " " : "", codes[i]);
}

static struct report *judge(const char *root, const char *client, unsigned major, struct client_site *site) {
    struct names named = {0};
    struct machine machine;
    names_add(&named, client);
    machine_look(root, &named, &machine);
    cr_assert_eq(machine.count, 1, "%s", client);
    machine.clients[0].major = major;
    machine.clients[0].version = major != 0 ? mem_printf("%u.0.0", major) : NULL;
    struct report *report = report_new();
    struct doctor d = {.root = root, .site = site, .machine = &machine, .report = report, .now = 1000000000};
    judge_machine(&d);
    machine_deinit(&machine);
    names_deinit(&named);
    return report;
}

static void check(const struct row *row, struct client_site *site) {
    char root[] = "/tmp/pullgate-test-XXXXXX", codes[CODES_TEXT];
    cr_assert_not_null(mkdtemp(root));
    for (size_t i = 0; row->files[i] != NULL; i += 2)
        put(root, row->files[i], row->files[i + 1]);
    struct report *r = judge(root, row->client, row->major, site);
    open_codes(r, codes);
    cr_expect_str_eq(codes, row->open, "%s %u: %s: found \"%s\", not \"%s\"", row->client, row->major, row->why, codes,
                     row->open);
    size_t count;
    const struct found_client *client = report_clients(r, &count);
    cr_expect_eq(client->leaves == TRI_YES, row->open[0] != '\0', "%s: %s: leaves", row->client, row->why);
    report_free(r);
    clear(root);
}

Test(doctor, configurations) {
    struct err err = {""};
    struct client_site *site = client_site_parse(site_text, strlen(site_text), &err);
    cr_assert_not_null(site, "%s", err.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], site);
    client_site_free(site);
}

/// `pullgate client` writes a hosts.toml anew; of other files it does not touch what it cannot read.
static bool is_by_hand(const struct finding *f) {
    return strcmp(f->code, "unparsable") == 0 && strstr(f->where, "hosts.toml") == NULL;
}

Test(doctor, every_open_finding_says_what_to_do) {
    struct err err = {""};
    struct client_site *site = client_site_parse(site_text, strlen(site_text), &err);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char root[] = "/tmp/pullgate-test-XXXXXX";
        cr_assert_not_null(mkdtemp(root));
        for (size_t j = 0; rows[i].files[j] != NULL; j += 2)
            put(root, rows[i].files[j], rows[i].files[j + 1]);
        struct report *r = judge(root, rows[i].client, rows[i].major, site);
        size_t count;
        const struct finding *f = report_findings(r, &count);
        for (size_t j = 0; j < count; j++)
            cr_expect(f[j].severity != FINDING_OPEN ||
                          (f[j].todo != NULL && (f[j].command != NULL) != is_by_hand(&f[j])),
                      "%s: %s: %s", rows[i].why, f[j].what, f[j].command != NULL ? f[j].command : "no command");
        report_free(r);
        clear(root);
    }
    client_site_free(site);
}

/// The proxy keeps it from the registries, and nothing leads it to the gateway: `uses` and the verdict agree.
Test(doctor, a_client_that_pulls_nothing_is_open) {
    static const char *const broken[] = {"server = \"https://x",
                                         "server = \"https://gw.test\"\ncapabilities = [\"pul\"]\n"};
    struct client_site *site = client_site_parse(site_text, strlen(site_text), NULL);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        static const char *const files[] = {CONTAINERD_CONFIG, UNIT("containerd")};
        char root[] = "/tmp/pullgate-test-XXXXXX", codes[CODES_TEXT];
        cr_assert_not_null(mkdtemp(root));
        put(root, files[0], files[1]);
        put(root, files[2], files[3]);
        put(root, CONTAINERD_DEFAULT, broken[i]);
        struct report *r = judge(root, "containerd", 2, site);
        size_t count;
        const struct found_client *client = report_clients(r, &count);
        open_codes(r, codes);
        cr_expect_str_eq(codes, "unused", "%s: %s", broken[i], codes);
        cr_expect_eq(client->uses, TRI_NO);
        cr_expect_eq(client->leaves, TRI_NO, "its proxy holds it");
        cr_expect_eq(report_exit_status(r), 1);
        report_free(r);
        clear(root);
    }
    client_site_free(site);
}

static const struct {
    const char *why, *client, *version;
    unsigned major;
    const char *open;
} referrers[] = {
    {"2.2 takes it", "containerd", "2.2.0", 2, ""},
    {"a later one", "containerd", "2.3.4", 2, ""},
    {"2.1 ignores the file", "containerd", "2.1.5", 2, "unknown_capability"},
    {"1.x too", "containerd", "1.7.20", 1, "unknown_capability"},
    {"a version that is not known may be such", "containerd", NULL, 0, "unknown_capability"},
    {"Docker 29.7 takes it", "docker", "29.7.2", 29, ""},
    {"of 29.0 that is not known", "docker", "29.0.0", 29, "unknown_capability"},
};

Test(doctor, the_capability_of_later_versions) {
    static const char *const config[] = {CONTAINERD_CONFIG};
    static const char text[] =
        "server = \"https://gw.test\"\ncapabilities = [\"pull\", \"resolve\", \"referrers\"]\n[host]\n";
    struct client_site *site = client_site_parse(site_text, strlen(site_text), NULL);
    for (size_t i = 0; i < sizeof referrers / sizeof *referrers; i++) {
        char root[] = "/tmp/pullgate-test-XXXXXX", codes[CODES_TEXT];
        struct machine_client c = {
            .name = referrers[i].client, .version = (char *)referrers[i].version, .major = referrers[i].major};
        struct machine machine = {0};
        struct doctor d = {.root = root, .site = site, .machine = &machine, .report = report_new()};
        cr_assert_not_null(mkdtemp(root));
        put(root, config[0], config[1]);
        put(root, CONTAINERD_DEFAULT, text);
        put(root, DEFAULT, text);
        report_client(d.report, c.name, NULL);
        (strcmp(c.name, "docker") == 0 ? judge_docker : judge_containerd)(&d, &c);
        open_codes(d.report, codes);
        cr_expect_str_eq(codes, referrers[i].open, "%s: %s", referrers[i].why, codes);
        report_free(d.report);
        clear(root);
    }
    client_site_free(site);
}

Test(doctor, without_a_site_nothing_is_the_gateway) {
    char root[] = "/tmp/pullgate-test-XXXXXX", codes[CODES_TEXT];
    cr_assert_not_null(mkdtemp(root));
    put(root, DEFAULT, SERVER);
    struct report *r = judge(root, "docker", 29, NULL);
    open_codes(r, codes);
    cr_expect_str_eq(codes, "other_mirror");
    report_free(r);
    clear(root);
}

// --- what is the gateway, and what the site wants ---

static const struct {
    const char *why, *text;
    bool gateway;
} places[] = {
    {"as it is", "https://gw.test", true},
    {"with its port", "https://gw.test:443/", true},
    {"without a scheme", "gw.test", true},
    {"below a path", "gw.test/docker.io/library", true},
    {"capitals", "https://GW.test", true},
    {"another port", "https://gw.test:8443", false},
    {"without TLS", "http://gw.test", false},
    {"a longer name", "https://gw.test.evil.test", false},
    {"a user that looks like it", "https://gw.test@evil.test", false},
    {"nothing", "", false},
    {"no host", "https:///v2", false},
};

Test(doctor, what_is_the_gateway) {
    struct client_site *site = client_site_parse(site_text, strlen(site_text), NULL);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        cr_expect_eq(site_is_gateway(site, places[i].text), places[i].gateway, "%s", places[i].why);
    cr_expect(site_is_wanted(site, "direct.test:5000"));
    cr_expect_not(site_is_wanted(site, "direct.test"));
    cr_expect(site_is_served(site, "docker.io"));
    cr_expect(site_is_served(site, "registry-1.docker.io"));
    cr_expect_not(site_is_served(site, "quay.io"));
    client_site_free(site);
}

static const struct {
    const char *why, *said, *version;
} versions[] = {
    {"docker", "Docker version 20.10.24+dfsg1, build 297e128", "20.10.24+dfsg1"},
    {"containerd", "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1", "1.6.20~ds1"},
    {"a v before it", "containerd github.com/containerd/containerd/v2 v2.3.4 abc", "2.3.4"},
    {"podman", "podman version 4.3.1", "4.3.1"},
    {"k3s", "k3s version v1.29.1+k3s1 (aaa)", "1.29.1+k3s1"},
    {"none", "no version here", NULL},
    {"a number alone is none", "build 12", NULL},
    {"nothing", "", NULL},
};

Test(doctor, versions) {
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        char *found = version_in(versions[i].said);
        cr_expect_eq(found == NULL, versions[i].version == NULL, "%s: %s", versions[i].why, found ? found : "none");
        if (found != NULL && versions[i].version != NULL)
            cr_expect_str_eq(found, versions[i].version, "%s: %s", versions[i].why, found);
        free(found);
    }
}
