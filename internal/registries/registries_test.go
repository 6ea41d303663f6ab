// SPDX-License-Identifier: Apache-2.0

package registries_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/registries"
	"github.com/dray-tools/dray/oci"
)

// write puts files below a new directory.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads one text as the only configuration.
func load(t testing.TB, text string) (*registries.Config, []string, error) {
	t.Helper()
	dir := write(t, map[string]string{"r.conf": text})
	var warned []string
	c, err := registries.Load(registries.Paths{Conf: filepath.Join(dir, "r.conf")},
		registries.Options{Warn: func(s string) { warned = append(warned, s) }})
	return c, warned, err
}

func show(list []registries.Endpoint) string {
	var out []string
	for _, e := range list {
		s := e.Host + "/" + e.Repository
		if e.Insecure {
			s += " insecure"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

const sample = `
unqualified-search-registries = ["docker.io"]
short-name-mode = "enforcing"
credential-helpers = ["containers-auth.json"]
[aliases]
"nginx" = "docker.io/library/nginx"
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "hub.mirror:5000/cache"
insecure = true
[[registry.mirror]]
location = "pinned.mirror"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.mirror"
pull-from-mirror = "tag-only"
[[registry]]
prefix = "docker.io/library/redis"
location = "quay.io/mine/redis"
[[registry]]
prefix = "quay.io/org"
location = "internal.example:8443/org2"
[[registry]]
prefix = "plain.example"
location = "plain.example"
insecure = true
[[registry]]
prefix = "evil.example"
location = "evil.example"
blocked = true
[[registry]]
prefix = "evil.example/good"
location = "evil.example/good"
[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "wild.mirror/w"
[[registry]]
prefix = "*.wild.example/team"
location = "teams.example/t"
[[registry]]
prefix = "pin.example"
location = "pin.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "pin.mirror"
[[registry]]
prefix = "back.example"
location = "docker.io"
`

func TestEndpoints(t *testing.T) {
	t.Parallel()
	c, warned, err := load(t, sample)
	if err != nil || len(warned) != 0 {
		t.Fatal(err, warned)
	}
	for _, tt := range []struct {
		host, repo string
		digest     bool
		want       string
	}{
		{"ghcr.io", "a/b", false, "ghcr.io/a/b"},
		{"docker.io", "busybox", false, "hub.mirror:5000/cache/library/busybox insecure, tags.mirror/library/busybox, docker.io/library/busybox"},
		{"docker.io", "library/busybox", true, "hub.mirror:5000/cache/library/busybox insecure, pinned.mirror/library/busybox, docker.io/library/busybox"},
		{"index.docker.io", "me/app", true, "hub.mirror:5000/cache/me/app insecure, pinned.mirror/me/app, docker.io/me/app"},
		{"docker.io", "redis", false, "quay.io/mine/redis"},
		{"docker.io", "library/redis-evil", true, "hub.mirror:5000/cache/library/redis-evil insecure, pinned.mirror/library/redis-evil, docker.io/library/redis-evil"},
		{"quay.io", "org/app", false, "internal.example:8443/org2/app"},
		{"QUAY.io", "org/app", false, "internal.example:8443/org2/app"},
		{"quay.io", "org", false, "internal.example:8443/org2"},
		{"quay.io", "org-evil/app", false, "quay.io/org-evil/app"},
		{"plain.example", "x", false, "plain.example/x insecure"},
		{"plain.example:5000", "x", false, "plain.example:5000/x"},
		{"plain.example.com", "x", false, "plain.example.com/x"},
		{"evil.example", "good/app", false, "evil.example/good/app"},
		{"a.wild.example", "x/y", false, "wild.mirror/w/x/y, a.wild.example/x/y"},
		{"a.b.wild.example", "x", false, "wild.mirror/w/x, a.b.wild.example/x"},
		{"a.wild.example", "team/x", false, "teams.example/t/x"},
		{"a.wild.example", "teams/x", false, "wild.mirror/w/teams/x, a.wild.example/teams/x"},
		{"wild.example", "x", false, "wild.example/x"},
		{"notwild.example", "x", false, "notwild.example/x"},
		{"a.wild.example:5000", "x", false, "a.wild.example:5000/x"},
		{"a.wild.example.com", "x", false, "a.wild.example.com/x"},
		{"pin.example", "x", false, "pin.example/x"},
		{"pin.example", "x", true, "pin.mirror/x, pin.example/x"},
		{"back.example", "busybox", false, "docker.io/library/busybox"},
	} {
		got, err := c.Endpoints(tt.host, tt.repo, tt.digest)
		if err != nil || show(got) != tt.want {
			t.Errorf("Endpoints(%s, %s, %v) = %s, %v; want %s", tt.host, tt.repo, tt.digest, show(got), err, tt.want)
		}
	}
}

func TestPrimary(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ host, repo, want string }{
		{"ghcr.io", "a", "ghcr.io/a"},
		{"quay.io", "org/app", "quay.io/org/app"},
		{"plain.example", "x", "plain.example/x insecure"},
		{"plain.example", "", "plain.example/ insecure"},
		{"docker.io", "busybox", "docker.io/library/busybox"},
		{"docker.io", "", "docker.io/"},
	} {
		got, err := c.Primary(tt.host, tt.repo)
		if err != nil || show([]registries.Endpoint{got}) != tt.want {
			t.Errorf("Primary(%s, %s) = %+v, %v; want %s", tt.host, tt.repo, got, err, tt.want)
		}
	}
}

func TestBlocked(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"evil.example", "EVIL.example"} {
		_, errRead := c.Endpoints(host, "x", false)
		_, errWrite := c.Primary(host, "x")
		for _, err := range []error{errRead, errWrite} {
			if !errors.Is(err, oci.ErrDenied) || !strings.Contains(err.Error(), "r.conf") {
				t.Errorf("%s: %v, want ErrDenied that names the file", host, err)
			}
		}
	}
}

func TestBad_002_Host(t *testing.T) {
	t.Parallel()
	c, certs := &registries.Config{}, registries.OpenCerts(registries.Paths{CertDirs: []string{t.TempDir()}}, registries.Options{})
	for _, host := range []string{"", ".", "..", "../etc", "a/b", `a\b`, "a\nb", "a\x00b", "u:p@h", "h%2fx", "h?x", "h#x", "h ", "h..x", "h.", strings.Repeat("a", 256)} {
		if _, err := c.Endpoints(host, "x", false); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("Endpoints(%q) = %v, want ErrInvalid", host, err)
		}
		if _, err := certs.TLS(host); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("TLS(%q) = %v, want ErrInvalid", host, err)
		}
	}
}

func TestLoadBroken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, want string
		kind       error
	}{
		{"a = ", "line 1", oci.ErrInvalid},
		{"\n\n[[registry]]\nlocation = 3", "line 4", oci.ErrInvalid},
		{"[registries.search]\nregistries = ['docker.io']", "v1 format", oci.ErrInvalid},
		{"[[registry]]", "both missing", oci.ErrInvalid},
		{"[[registry]]\nprefix = 'a.b'", "no location", oci.ErrInvalid},
		{"[[registry]]\nlocation = 'https://a.b'", "scheme", oci.ErrInvalid},
		{"[[registry]]\nlocation = 'a.b/../c'", "location", oci.ErrInvalid},
		{"[[registry]]\nlocation = '/'", "not the name", oci.ErrInvalid},
		{"[[registry]]\nprefix = 'a b'\nlocation = 'c'", "not the name", oci.ErrInvalid},
		{"[[registry]]\nlocation = 'a'\n[[registry.mirror]]", "missing", oci.ErrInvalid},
		{"[[registry]]\nlocation = 'a'\n[[registry.mirror]]\nlocation = 'b'\npull-from-mirror = 'x'", "want all", oci.ErrInvalid},
		{"[[registry]]\nlocation = 'a'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'b'\npull-from-mirror = 'all'", "beside", oci.ErrInvalid},
		{"[[registry]]\nprefix = 'a/b:1'\nlocation = 'a/b'\nblocked = true", "cannot be blocked", oci.ErrUnsupported},
		{"a = " + strings.Repeat("[", 100_000), "deep", oci.ErrInvalid},
		{"a = " + strings.Repeat("[ \n", 1000), "deep", oci.ErrInvalid},
		{"\na" + strings.Repeat(".a", 100_000) + " = 1", "line 2 has more than", oci.ErrInvalid},
		{"# \xff", "UTF-8", oci.ErrInvalid},
		{strings.Repeat("#\n", 1<<17+1), "more than", oci.ErrInvalid},
		{strings.Repeat("#", 1<<20+1), "more than", oci.ErrInvalid},
	} {
		_, _, err := load(t, tt.text)
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "r.conf") {
			t.Errorf("%.60q: %v, want %v that says %q and names the file", tt.text, err, tt.kind, tt.want)
		}
	}
}

func TestLoadWarns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"colour = 1", `"colour"`},
		{"[[registry]]\nlocation = 'a'\nblocekd = true", "blocekd"},
		{"[[registry]]\nlocation = 'a'\n[[registry]]\nlocation = 'a'\ninsecure = true", "registry 2"},
		{"[[registry]]\nprefix = 'a/b:1'\nlocation = 'a/b'", "tag or a digest"},
		{"credential-helpers = ['secretservice']", "credential-helpers"},
	} {
		c, warned, err := load(t, tt.text)
		if err != nil || len(warned) != 1 || !strings.Contains(warned[0], tt.want) {
			t.Errorf("%q: %q, %v; want one warning with %q", tt.text, warned, err, tt.want)
			continue
		}
		if e, err := c.Primary("a", "x"); err != nil || e.Insecure {
			t.Errorf("%q: Primary = %+v, %v", tt.text, e, err)
		}
	}
}

func TestNilConfig(t *testing.T) {
	t.Parallel()
	var c *registries.Config
	if got, err := c.Endpoints("docker.io", "busybox", false); err != nil || show(got) != "docker.io/library/busybox" {
		t.Errorf("Endpoints = %v, %v", got, err)
	}
}

// TestRewriteNowhere: a location that leaves no repository is not used.
func TestRewriteNowhere(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, "[[registry]]\nprefix = 'a.b/c'\nlocation = 'd.e'")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Endpoints("a.b", "c", false); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "r.conf") {
		t.Errorf("Endpoints = %v, want ErrInvalid", err)
	}
}

// TestPlaces: which files are read, and which wins. The location tells.
func TestPlaces(t *testing.T) {
	t.Parallel()
	table := func(prefix, location string) string {
		return fmt.Sprintf("[[registry]]\nprefix = %q\nlocation = %q\n", prefix, location)
	}
	dir := write(t, map[string]string{
		"usr/registries.conf":                         table("main", "usr"),
		"etc/registries.conf":                         table("main", "etc") + table("over", "etc"),
		"home/registries.conf":                        table("main", "home"),
		"usr/registries.conf.d/50-a.conf":             table("masked", "usr") + table("onlyusr", "usr"),
		"etc/registries.conf.d/50-a.conf":             table("masked", "etc"),
		"usr/registries.conf.d/99.conf":               table("late", "usr"),
		"home/registries.conf.d/10.conf":              table("late", "home") + table("over", "dropin"),
		"etc/registries.conf.d/README":                "not a configuration",
		"etc/registries.conf.d/sub.conf/x":            "",
		"etc/registries.rootful.conf.d/60.conf":       table("who", "root"),
		"etc/registries.rootless.conf.d/60.conf":      table("who", "user"),
		"etc/registries.rootless.conf.d/1000/61.conf": table("who", "user1000"),
		"home/registries.rootless.conf.d/62.conf":     table("who", "wrong"),
		"alone.conf":    table("main", "alone"),
		"override.conf": table("main", "override"),
		"etc2/registries.conf.d/50-only-drop-ins-99.conf": table("main", "dropin"),
	})
	in := func(name string) string { return filepath.Join(dir, name) }
	all := registries.Paths{Vendor: in("usr"), Admin: in("etc"), User: in("home")}
	with := func(f func(*registries.Paths)) registries.Paths { p := all; f(&p); return p }
	for _, tt := range []struct {
		name string
		p    registries.Paths
		want map[string]string
	}{
		{"user", all, map[string]string{"main": "home", "masked": "etc", "onlyusr": "onlyusr", "late": "usr", "who": "root", "over": "dropin"}},
		{"uid 7", with(func(p *registries.Paths) { p.UID = 7 }), map[string]string{"who": "user"}},
		{"uid 1000", with(func(p *registries.Paths) { p.UID = 1000 }), map[string]string{"who": "user1000"}},
		{"no user", with(func(p *registries.Paths) { p.User = "" }), map[string]string{"main": "etc", "over": "etc"}},
		{"vendor only", with(func(p *registries.Paths) { p.User, p.Admin = "", in("none") }), map[string]string{"main": "usr", "masked": "usr"}},
		{"drop-in only", registries.Paths{Admin: in("etc2")}, map[string]string{"main": "dropin"}},
		{"conf", with(func(p *registries.Paths) { p.Conf = in("alone.conf") }), map[string]string{"main": "alone", "late": "late"}},
		{"override", with(func(p *registries.Paths) { p.Override = in("override.conf") }), map[string]string{"main": "override", "late": "usr"}},
		{"nothing", registries.Paths{}, map[string]string{"main": "main"}},
	} {
		c, err := registries.Load(tt.p, registries.Options{Warn: func(s string) { t.Error(tt.name, s) }})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for host, want := range tt.want {
			if e, err := c.Endpoints(host, "x", false); err != nil || e[len(e)-1].Host != want {
				t.Errorf("%s: %s is at %v, %v; want %s", tt.name, host, e, err, want)
			}
		}
	}
	for _, p := range []registries.Paths{{Conf: in("missing.conf")}, {Override: in("missing.conf")}} {
		if _, err := registries.Load(p, registries.Options{}); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "missing.conf") {
			t.Errorf("Load(%+v) = %v, want ErrInvalid", p, err)
		}
	}
}

func TestDefaultPaths(t *testing.T) {
	t.Parallel()
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			if i := slices.Index(kv, k); i >= 0 {
				return kv[i+1]
			}
			return ""
		}
	}
	p := registries.DefaultPaths(env("HOME", "/h", "CONTAINERS_REGISTRIES_CONF", "/c"), 7, "linux")
	want := registries.Paths{Conf: "/c", Vendor: "/usr/share/containers", Admin: "/etc/containers", User: "/h/.config/containers", UID: 7,
		CertDirs: []string{"/h/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d", "/h/.config/docker/certs.d"}}
	if filepath.Separator == '/' && fmt.Sprint(p) != fmt.Sprint(want) {
		t.Errorf("linux: %+v", p)
	}
	if p := registries.DefaultPaths(env("XDG_CONFIG_HOME", "/x", "HOME", "/h"), 0, "darwin"); p.User != filepath.Join("/x", "containers") {
		t.Errorf("XDG_CONFIG_HOME: %+v", p)
	}
	if p := registries.DefaultPaths(env(), 0, "windows"); p.Vendor+p.Admin+p.User != "" || len(p.CertDirs) != 0 {
		t.Errorf("empty: %+v", p)
	}
}

// FuzzRegistriesConf: no text panics, and what is accepted yields endpoints
// that have a host and a repository.
func FuzzRegistriesConf(f *testing.F) {
	for _, s := range []string{sample, "", "[[registry]]\nprefix = '*.a'\n", "[[registry]]\nlocation = 'docker.io/x'\n", "a = [[[1]]]", "[registries]", "[[registry]]\nlocation = 'a.b:5/c'\nmirror = [{location = 'd'}]"} {
		f.Add(s, "docker.io", "busybox")
		f.Add(s, "a.b:5", "c/d")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, host, repository string) {
		name := filepath.Join(dir, "r.conf")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := registries.Load(registries.Paths{Conf: name}, registries.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), name) {
				t.Fatalf("%v does not name the file", err)
			}
			return
		}
		list, err := c.Endpoints(host, repository, false)
		if err != nil {
			return
		}
		for _, e := range list {
			if e.Host == "" || strings.ContainsAny(e.Host, "/\n\x00@") || repository != "" && e.Repository == "" {
				t.Fatalf("Endpoints(%q, %q) has %+v", host, repository, e)
			}
		}
	})
}
