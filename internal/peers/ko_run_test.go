// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	baseName   = "org.opencontainers.image.base.name"
	baseDigest = "org.opencontainers.image.base.digest"
)

// faults looks for what is wrong in ko's images, and must not be in dray's.
func (l *koLab) faults(t *testing.T, built map[*koCase]string) {
	layout := func(name string) *goImage {
		t.Helper()
		for c, dir := range built {
			if c.name == name {
				return drawGo(t, dir)
			}
		}
		t.Fatalf("%s is not built", name)
		return nil
	}
	app := layout("app")
	base := l.registry + "/two:latest"
	if a := app.root.Annotations; a[baseDigest] != dray(t, "digest", base) || a[baseName] != base {
		t.Errorf("the index says that its base is %s, %s", a[baseName], a[baseDigest])
	}
	for name, p := range app.images {
		if a := p.manifest.Annotations; a[baseDigest] != dray(t, "digest", "--platform="+name, base) || a[baseName] != base {
			t.Errorf("the image for %s says that its base is %s, %s", name, a[baseName], a[baseDigest])
		}
	}
	for name, p := range layout("link-of-the-base").images {
		if n := p.tree["/var/run"]; n == nil || n.kind != 'l' || n.to != "/run" {
			t.Errorf("%s: /var/run is %v", name, n)
		}
		for at, mode := range map[string]string{"/run/ko/page.html": "0555", "/run/lock": "1777", "/run": "0755", "/var": "0755"} {
			if n := p.tree[at]; n == nil || n.aspects()["mode"] != mode {
				t.Errorf("%s: %s is %v", name, at, n)
			}
		}
	}
	for name, p := range layout("no-kodata").images {
		if len(p.kinds) != 1 {
			t.Errorf("%s: %v were put on the base", name, p.kinds)
		}
	}
	for of, path := range map[string]string{"windows": "", "windows-path": `Path=C:\Windows\system32;C:\Windows;C:\ko-app`} {
		for name, p := range layout(of).images {
			var have []string
			for _, v := range list(p.Config["Env"]) {
				if s := v.(string); strings.HasPrefix(strings.ToUpper(s), "PATH=") {
					have = append(have, s)
				}
			}
			if strings.Join(have, "\n") != path {
				t.Errorf("%s %s: PATH is %q", of, name, have)
			}
			start := list(p.Config["Entrypoint"])[0].(string)
			file := "/Files/" + strings.ReplaceAll(strings.TrimPrefix(start, `C:\`), `\`, "/")
			if n := p.tree[file]; n == nil || !strings.HasSuffix(file, ".exe") {
				t.Errorf("%s %s: %s starts, %s is %v", of, name, start, file, n)
			}
		}
	}
	if n := len(layout("windows").images); n != 2 {
		t.Errorf("%d images for Windows, want one for each version of it", n)
	}
}

// A tapped registry is one whose requests are listed.
type tapped struct {
	addr string
	mu   sync.Mutex
	list []string // METHOD PATH
}

func tap(t *testing.T, upstream string) *tapped {
	t.Helper()
	p := &tapped{}
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: upstream})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.list = append(p.list, r.Method+" "+r.URL.Path)
		p.mu.Unlock()
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	p.addr = strings.TrimPrefix(srv.URL, "http://")
	return p
}

// take returns the requests since the last time.
func (p *tapped) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.list
	p.list = nil
	return list
}

// requests counts those of a method on a kind of thing.
func requests(list []string, method, kind string) (n int) {
	for _, r := range list {
		if strings.HasPrefix(r, method+" ") && strings.Contains(r, kind) {
			n++
		}
	}
	return n
}

// A build of three platforms that changes nothing asks two questions an image at
// most; one that changes a line sends one layer a platform.
func TestKoRequests(t *testing.T) {
	t.Parallel()
	l := newKoLab(t)
	c := &koCase{name: "requests", args: []string{"./cmd/app", "--platform=linux/amd64,linux/arm64,linux/arm/v7"}, base: "three"}
	dir := l.module(t, c)
	p := tap(t, l.registry)
	l.registry = p.addr
	build := func(what string) (mine, theirs []string) {
		t.Helper()
		p.take()
		_, errOut, err := l.within(t, dir, c, drayBin, append([]string{"build", "go", "--bare"}, c.args...), "KO_DOCKER_REPO="+p.addr+"/dray/app")
		if err != nil {
			t.Fatalf("dray: %v: %s", err, errOut)
		}
		mine = p.take()
		_, errOut, err = l.within(t, dir, c, l.ko, append([]string{"build", "--bare"}, c.args...), "KO_DOCKER_REPO="+p.addr+"/ko/app")
		if err != nil {
			t.Fatalf("ko: %v: %s", err, errOut)
		}
		theirs = p.take()
		t.Logf("%s: dray sends %d requests, ko %d", what, len(mine), len(theirs))
		return mine, theirs
	}
	build("first")
	if mine, _ := build("unchanged"); len(mine) > 2 || requests(mine, "HEAD", "/manifests/") != len(mine) {
		t.Errorf("nothing has changed, and dray asks %q", mine)
	}
	main := filepath.Join(dir, "cmd", "app", "main.go")
	text, err := os.ReadFile(main)
	if err == nil {
		err = os.WriteFile(main, []byte(strings.Replace(string(text), `"none"`, `"some"`, 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := build("one line")
	// A layer and a config of each platform; and what is attached to the images
	// and to their index: the bills of materials and the provenance.
	if n := requests(mine, "PUT", "/blobs/"); n > 3*2+4+1 {
		t.Errorf("dray sends %d blobs: %q", n, mine)
	}
	if len(mine) >= len(theirs) {
		t.Errorf("dray sends %d requests, ko %d", len(mine), len(theirs))
	}
	alone := append([]string{"build", "go", "--bare", "--sbom=none", "--provenance=false"}, c.args...)
	err = os.WriteFile(main, []byte(strings.Replace(string(text), `"none"`, `"more"`, 1)), 0o644)
	p.take()
	_, errOut, err2 := l.within(t, dir, c, drayBin, alone, "KO_DOCKER_REPO="+p.addr+"/dray/app")
	if err != nil || err2 != nil {
		t.Fatalf("dray: %v, %v: %s", err, err2, errOut)
	}
	if list := p.take(); requests(list, "PUT", "/blobs/uploads/") != 6 || requests(list, "PUT", "/manifests/") != 4 {
		t.Errorf("want a layer, a config and a manifest for each of three platforms, and an index: %q", list)
	}
}

// A web server with kodata runs in a Docker engine, on a base with links and on
// the one that dray makes, and answers.
func TestKoServes(t *testing.T) {
	t.Parallel()
	l := newKoLab(t)
	c := &koCase{name: "serves"}
	dir := l.module(t, c)
	e := newDockerEngine(t)
	for tag, from := range map[string]string{"linked": l.registry + "/link", "static": "scratch+certs"} {
		args := []string{"build", "go", "./cmd/web", "--from", from, "--platform=linux/" + runtime.GOARCH, "--ldflags=-X main.version=" + tag,
			"-t", "docker-daemon:serves:" + tag, "--cmd", freePort(t)}
		addr := args[len(args)-1]
		if _, errOut, err := l.within(t, dir, c, drayBin, args, "DOCKER_HOST=unix://"+e.sock); err != nil {
			t.Fatalf("%v: %s", err, errOut)
		}
		id := e.run("run", "-d", "--network=host", "serves:"+tag)
		get := func(path string) (string, error) {
			resp, err := http.Get("http://" + addr + path)
			if err != nil {
				return "", err
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			return string(text), err
		}
		wait(t, "the server in the container", func() bool { _, err := get("/"); return err == nil })
		for path, want := range map[string]string{"/version": "shop " + tag, "/page.html": "<p>page\n", "/deep/er/file": "file\n"} {
			if got, err := get(path); err != nil || got != want {
				t.Errorf("%s: %s is %q, %v; want %q", tag, path, got, err, want)
			}
		}
		user := e.run("inspect", "-f", "{{.Config.User}}", id)
		if want := map[string]string{"static": "65532:65532"}[tag]; user != want {
			t.Errorf("%s: it runs as %q, want %q", tag, user, want)
		}
		e.run("rm", "-f", id)
	}
}

// With -L the image is in the Docker engine, under the repository that ko gives it,
// and what is printed runs.
func TestKoLocal(t *testing.T) {
	t.Parallel()
	l := newKoLab(t)
	c := &koCase{name: "local"}
	dir := l.module(t, c)
	e := newDockerEngine(t)
	for _, args := range [][]string{{"-L"}, {"--local", "-B", "-t", "v1"}, {"-L", "-P", "--tags=v1,v2"}} {
		var names [2]string
		for n, words := range [][]string{{drayBin, "build", "go", "./cmd/bare", koHere}, {l.ko, "build", "./cmd/bare", koHere}} {
			out, errOut, err := l.within(t, dir, c, words[0], append(words[1:], args...), "DOCKER_HOST=unix://"+e.sock)
			if err != nil {
				t.Fatalf("%q: %v: %s", words, err, errOut)
			}
			if says := e.run("run", "--rm", "--network=none", out); says != "bare" {
				t.Errorf("%q: %s prints %q", words, out, says)
			}
			names[n] = out[:strings.LastIndex(out, ":")]
		}
		if names[0] != names[1] {
			t.Errorf("%q: dray prints %s, ko %s", args, names[0], names[1])
		}
	}
}

// Names are those of ko: what is printed, what is tagged, what --image-refs has.
func TestKoNames(t *testing.T) {
	t.Parallel()
	l := newKoLab(t)
	dir := l.module(t, &koCase{name: "names"})
	for i, args := range [][]string{
		{"./cmd/bare"}, {"./cmd/bare", "-P"}, {"./cmd/bare", "-B"}, {"./cmd/bare", "--bare"}, {"./cmd/bare", "-P", "-B"}, {"./cmd/bare", "-B", "--bare"},
		{"./cmd/bare", "--tags=v1,v2", "-B"}, {"./cmd/bare", "-t", "v1,latest"}, {"./cmd/bare", "-t", "v1", "-t", "v2"}, {"./cmd/bare", "-t", "v1", "--tag-only"},
		{"./cmd/bare", "./cmd/app", "-B"}, {"./cmd/app", "./cmd/bare", "./cmd/app"}, {"example.com/shop/cmd/bare", "--push=true"},
		{"./cmd/bare", "--platform=linux/arm64,linux/amd64", "--base-import-paths"},
	} {
		c := &koCase{name: "names"}
		var got [2]string
		for n, builder := range []string{drayBin, l.ko} {
			repo := l.registry + "/" + []string{"dray", "ko"}[n] + string(rune('a'+i))
			refs := filepath.Join(l.dir, "refs")
			words := append([]string{"build"}, append(slices.Clone(args), "--image-refs="+refs)...)
			if n == 0 {
				words = slices.Insert(words, 1, "go")
			}
			out, errOut, err := l.within(t, dir, c, builder, words, "KO_DOCKER_REPO="+repo)
			if err != nil {
				t.Fatalf("%q: %v: %s", words, err, errOut)
			}
			text, err := os.ReadFile(refs)
			if err != nil {
				t.Fatal(err)
			}
			var tags []string
			for _, name := range strings.Fields(dray(t, "catalog", l.registry)) {
				if at := l.registry + "/" + name; at == repo || strings.HasPrefix(at, repo+"/") {
					for _, tag := range strings.Fields(dray(t, "ls", at)) {
						if !strings.HasPrefix(tag, "sha256-") {
							tags = append(tags, at+":"+tag)
						}
					}
				}
			}
			got[n] = "printed\n" + named(out, repo) + "\nreferences\n" + named(string(text), repo) + "\ntags\n" + named(strings.Join(tags, "\n"), repo)
		}
		if got[0] != got[1] {
			t.Errorf("%q: dray:\n%s\nko:\n%s", args, got[0], got[1])
		}
	}
}

// named are lines in their order by name, without digests and the repository that
// is asked for.
func named(text, repo string) string {
	lines := strings.Fields(strings.ReplaceAll(text, repo, "REPO"))
	for i, line := range lines {
		lines[i], _, _ = strings.Cut(line, "@")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
