// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peers_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A koCase is a build that ko and dray are asked for with the same words.
type koCase struct {
	name   string
	base   string // its repository; "": two
	args   []string
	env    []string
	config string   // .ko.yaml
	links  []string // PATH -> TARGET, in the module
	fails  string   // what dray says; ko refuses it too
	taken  bool     // ko refuses it, and dray does not
	prints string   // what the program says in a Docker engine; "": it is not run
}

// koSeen is what cmd/app says.
func koSeen(version, user, path, data, more string) string {
	return fmt.Sprintf("shop %s as %s\nPATH %s\n%s/deep/er/file file\n%[4]s/page.html <p>page\n%s", version, user, path, data, more)
}

const (
	koData   = "/var/run/ko"
	koPath   = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/ko-app"
	koNoLink = "/var/run"
	koApp    = "./cmd/app"
	koBoth   = "--platform=linux/amd64,linux/arm64"
)

var koHere = "--platform=linux/" + runtime.GOARCH

var koCases = []koCase{
	{name: "app", args: []string{koApp, koBoth}, prints: koSeen("none", "0", koPath, koData, koNoLink)},
	{name: "import-path", args: []string{"example.com/shop/cmd/app", "--platform=all"}, prints: koSeen("none", "0", koPath, koData, koNoLink)},
	{name: "default-platform", args: []string{koApp}},
	{name: "ko-scheme", args: []string{"ko://example.com/shop/cmd/bare", koHere}, prints: "bare"},
	{name: "no-kodata", args: []string{"./cmd/bare", koBoth}, prints: "bare"},
	{name: "link-of-the-base", base: "link", args: []string{koApp, koHere}, prints: koSeen("none", "0", koPath, koData, "/var/run /run")},
	{name: "kodata-links", args: []string{koApp, koHere}, links: []string{"cmd/app/kodata/index.html -> page.html", "cmd/app/kodata/more -> deep/er"},
		prints: "shop none as 0\nPATH " + koPath + "\n" + koData + "/deep/er/file file\n" + koData + "/index.html <p>page\n" + koData + "/more/file file\n" + koData + "/page.html <p>page\n/var/run"},
	{name: "kodata-link-in-the-module", args: []string{koApp, koHere}, links: []string{"cmd/app/kodata/LICENSE -> ../../../LICENSE"}, taken: true,
		prints: strings.Replace(koSeen("none", "0", koPath, koData, koNoLink), koData, koData+"/LICENSE free\n"+koData, 1)},
	{name: "kodata-link-out", args: []string{koApp, koHere}, links: []string{"cmd/app/kodata/passwd -> /etc/passwd"}, fails: `kodata/passwd" leads out of `},
	{name: "config", args: []string{koApp}, env: []string{"VERSION=v7"}, config: `
defaultBaseImage: "{{registry}}/link"
baseImageOverrides: {example.com/shop/CMD/app: "{{registry}}/two"}
defaultPlatforms: [linux/amd64, linux/arm64]
defaultLdflags: [-X main.version=of-all]
builds:
- id: app
  dir: .
  main: ./cmd/app
  flags: [-tags=netgo]
  ldflags: ["-s -w", "-X main.version={{.Env.VERSION}}-{{.GoEnv.GOOS}}"]
`, prints: koSeen("v7-linux", "0", koPath, koData, koNoLink)},
	{name: "config-default", base: "link", args: []string{koApp, koHere}, config: "defaultEnv: [GOAMD64=v2]\ndefaultFlags: [-tags=x]\ndefaultLdflags: [-X=main.version=of-all]\n",
		prints: koSeen("of-all", "0", koPath, koData, "/var/run /run")},
	{name: "config-environment", args: []string{koApp}, env: []string{"KO_DEFAULTPLATFORMS=linux/arm64,linux/amd64"}, config: "defaultPlatforms: [linux/s390x]\n"},
	{name: "flags", args: []string{koApp, koBoth, "--image-label=a=1,b=2", "--image-annotation=k=v", "--image-user=65532", "--ldflags=-X=main.version=flag", "--disable-optimizations"},
		prints: koSeen("flag", "65532", koPath, koData, "CapEff:\t0000000000000000\n/var/run")},
	{name: "times", args: []string{koApp, koHere}, env: []string{"SOURCE_DATE_EPOCH=1700000000", "KO_DATA_DATE_EPOCH=1600000000"}},
	{name: "variants", base: "variants", args: []string{koApp, "--platform=linux/arm/v7,linux/amd64/v3"}},
	{name: "environment", args: []string{koApp}, env: []string{"GOOS=linux", "GOARCH=arm64"}},
	{name: "capabilities", args: []string{koApp, koHere, "--image-user=1234"}, config: "builds: [{main: ./cmd/app, linux_capabilities: 'cap_net_bind_service,cap_chown=ep'}]\n",
		prints: koSeen("none", "1234", koPath, koData, "CapEff:\t0000000000000401\n/var/run")},
	{name: "capabilities-list", args: []string{koApp, koHere}, config: "builds: [{main: ./cmd/app, linux_capabilities: [net_raw, cap_chown]}]\n"},
	{name: "windows", base: "nanoserver", args: []string{koApp, "--platform=windows/amd64"}},
	{name: "windows-path", base: "servercore", args: []string{"./cmd/bare", "--platform=windows/amd64"}},
	{name: "not-main", args: []string{"./lib"}, fails: `"./lib" is no program: its package is lib, not main`},
	{name: "no-such-package", args: []string{"./cmd/none"}, fails: "cmd/none: no such file or directory"},
	{name: "no-such-variable", args: []string{koApp}, config: "defaultLdflags: ['{{.Env.NOT_THERE}}']\n", fails: `no entry for key "NOT_THERE"`},
	{name: "toolexec", args: []string{koApp}, config: "defaultFlags: [-toolexec=/bin/true]\n", fails: "-toolexec is not allowed"},
	{name: "toolexec-environment", args: []string{koApp}, env: []string{"GOFLAGS=-toolexec=/bin/true"}, fails: "-toolexec is not allowed"},
	{name: "environment-and-platform", args: []string{koApp, koBoth}, env: []string{"GOOS=linux"}, fails: "GOOS=linux in the environment, and --platform"},
	{name: "no-such-platform", args: []string{koApp, "--platform=linux/riscv64"}, fails: "riscv64"},
	{name: "no-such-base", base: "none", args: []string{koApp}, fails: "/none:latest: 404 MANIFEST_UNKNOWN"},
}

// Programs of Go become the images that ko makes of them, but for the known
// differences; and they run in a Docker engine.
func TestKo(t *testing.T) {
	t.Parallel()
	l := newKoLab(t)
	var mu sync.Mutex
	built := map[*koCase]string{}
	t.Run("build", func(t *testing.T) {
		for i := range koCases {
			c := &koCases[i]
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if layout := l.check(t, c); layout != "" {
					mu.Lock()
					defer mu.Unlock()
					built[c] = layout
				}
			})
		}
	})
	t.Run("faults", func(t *testing.T) { l.faults(t, built) })
	t.Run("run", func(t *testing.T) {
		e := newDockerEngine(t)
		for c, layout := range built {
			if c.prints == "" {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				e.dray("unix://"+e.sock, "copy", "--platform=linux/"+runtime.GOARCH, "oci:"+layout+":1", "docker-daemon:ko/"+c.name+":1")
				if out := e.run("run", "--rm", "--network=none", "ko/"+c.name+":1"); out != c.prints {
					t.Errorf("it prints\n%s\nwant\n%s", out, c.prints)
				}
			})
		}
	})
}

// check builds a case with both and compares; it returns the layout that has
// dray's image.
func (l *koLab) check(t *testing.T, c *koCase) (layout string) {
	dir := l.module(t, c)
	theirs := l.registry + "/ko/" + c.name
	mine := l.registry + "/dray/" + c.name
	out, errOut, err := l.within(t, dir, c, drayBin, append([]string{"build", "go", "--bare"}, c.args...), "KO_DOCKER_REPO="+mine)
	_, koSaid, koErr := l.within(t, dir, c, l.ko, append([]string{"build", "--bare"}, c.args...), "KO_DOCKER_REPO="+theirs)
	if c.fails != "" {
		if err == nil || !strings.Contains(errOut, c.fails) || out != "" {
			t.Errorf("dray: %v: %s%s\nwant %q", err, out, errOut, c.fails)
		}
		if koErr == nil {
			t.Error("ko does not refuse it")
		}
		return ""
	}
	if err != nil {
		t.Fatalf("dray: %v: %s", err, errOut)
	}
	layout = filepath.Join(dir, ".dray")
	dray(t, "copy", mine, "oci:"+layout+":1")
	if c.taken != (koErr != nil) {
		t.Fatalf("ko: %v: %s", koErr, koSaid)
	}
	got := map[string]string{"refuses it": koSaid}
	if !c.taken {
		other := filepath.Join(dir, ".ko")
		dray(t, "copy", theirs, "oci:"+other+":1")
		got = drawGo(t, layout).differences(drawGo(t, other))
	}
	for what, detail := range got {
		if !slices.ContainsFunc(koDifferences, func(d koDifference) bool { return d.in(c) && d.is(what) }) {
			t.Errorf("%s: %s", what, detail)
		}
	}
	for _, d := range koDifferences {
		if !d.in(c) {
			continue
		}
		seen := false
		for what := range got {
			seen = seen || d.is(what)
		}
		if !seen {
			t.Errorf("the known difference %q does not occur", d.what)
		}
	}
	return layout
}
