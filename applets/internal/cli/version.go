package cli

import (
	"runtime"
	"runtime/debug"
)

// version is set by the build: -ldflags "-X .../cli.version=1.2.3".
var version string

// Version is the release, the module version of "go install", or "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// versionText begins with "ctbox VERSION", or "APPLET (ctbox) VERSION", as the GNU standards want it; then
// toolchain, platform and, where known, the commit.
func versionText(applet string) string {
	s := "ctbox "
	if applet != "" {
		s = applet + " (ctbox) "
	}
	s += Version() + "\n" + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				s += " commit " + setting.Value
			}
		}
	}
	return s + "\n"
}
