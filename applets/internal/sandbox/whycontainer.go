package sandbox

import (
	"path"
	"strings"
)

// openContainer is how to start the container so that namespaces can be made in it. Docker masks parts of /proc, and
// then the kernel lets no user namespace mount a whole one: one switch without the other is of no use.
func (ev *evidence) openContainer() string {
	var how string
	switch ev.container() {
	case "docker":
		how = "start the container with --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
		if ev.confined() {
			how += " --security-opt apparmor=unconfined"
		}
	case "podman":
		how = "start the container with --security-opt seccomp=unconfined --security-opt unmask=ALL"
	case "kubernetes":
		how = "in the pod's securityContext: seccompProfile.type Unconfined, procMount Unmasked"
	case "lxc":
		how = "lxc config set CONTAINER security.nesting=true"
	default:
		how = "start the container without seccomp filter and without masked paths"
	}
	return how + ev.orChroot()
}

// orChroot is the alternative where there is another one.
func (ev *evidence) orChroot() string {
	if ev.euid == 0 {
		return "; or use --chroot, which isolates hardly anything"
	}
	return "; or run it as root with --chroot, which isolates hardly anything"
}

// container names what runs the container that this is, "" if it is none. /.dockerenv alone is no sign: it stays in the
// tree that "docker export" makes of a container. Engines hide parts of /proc and mount their own /etc/hostname.
func (ev *evidence) container() string {
	groups := ev.read("proc/self/cgroup") + ev.read("proc/1/cgroup")
	kind := ev.read("run/systemd/container")
	contained := ev.masked() != "" || ev.isMounted("/etc/hostname")
	switch {
	case ev.exists("var/run/secrets/kubernetes.io") || ev.exists("run/secrets/kubernetes.io") || strings.Contains(groups, "kubepods"):
		return "kubernetes"
	case ev.exists("run/.containerenv") || strings.Contains(groups, "libpod"):
		return "podman"
	case strings.Contains(groups, "/docker") || ev.exists(".dockerenv") && contained:
		return "docker"
	case strings.HasPrefix(kind, "lxc") || strings.Contains(groups, "/lxc"):
		return "lxc"
	case contained && ev.kindOf("/") == "overlay":
		return "other"
	}
	return kind
}

// masked is what is mounted below /proc, so that not all of it can be seen. The kernel looks past mounts on
// directories that it has made for the purpose (mnt_already_visible in fs/namespace.c).
func (ev *evidence) masked() string {
	for _, m := range ev.mounts() {
		if strings.HasPrefix(m.point, "/proc/") {
			switch path.Base(m.point) {
			case "binfmt_misc", "nfsd", "xen":
				continue
			}
			return m.point
		}
	}
	return ""
}
