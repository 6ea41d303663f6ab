// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/oci"
)

// The bytes are those that setcap writes.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                          "",
		"net_bind_service":          "0000000200040000000000000000000000000000",
		"CAP_NET_BIND_SERVICE=ep":   "0100000200040000000000000000000000000000",
		"cap_net_raw,cap_kill=eip":  "0100000220200000202000000000000000000000",
		"38":                        "0000000200000000000000004000000000000000",
		"bpf+p":                     "0000000200000000000000008000000000000000",
		"all=p chown,fowner-p":      "00000002f6ffffff00000000ff01000000000000",
		"=p":                        "00000002ffffffff00000000ff01000000000000",
		"chown=ep chown=p":          "0000000201000000000000000000000000000000",
		"chown chown-p":             "",
		"chown=p+i-p":               "0000000200000000010000000000000000000000",
		"chown=x":                   "!",
		"fly":                       "!",
		"64":                        "!",
		"chown,=p":                  "!",
		"+p":                        "!",
		"net_raw,fly=p":             "!",
		"cap_checkpoint_restore=ie": "0100000200000000000000000000000000010000",
	} {
		got, err := golang.Capabilities(strings.Fields(in)...)
		if want == "!" && !errors.Is(err, oci.ErrInvalid) || want != "!" && (err != nil || hex.EncodeToString([]byte(got)) != want) {
			t.Errorf("%s: %x, %v, want %s", in, got, err, want)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"linux/amd64":            "GOOS=linux GOARCH=amd64",
		"linux/amd64/v3":         "GOOS=linux GOARCH=amd64 GOAMD64=v3",
		"linux/arm64/v8":         "GOOS=linux GOARCH=arm64",
		"linux/arm64/v9":         "GOOS=linux GOARCH=arm64 GOARM64=v9.0",
		"linux/arm64/v8.2":       "GOOS=linux GOARCH=arm64 GOARM64=v8.2",
		"linux/arm":              "GOOS=linux GOARCH=arm GOARM=7",
		"linux/arm/v6":           "GOOS=linux GOARCH=arm GOARM=6",
		"linux/arm/v8":           "GOOS=linux GOARCH=arm GOARM=7",
		"linux/arm/v4":           "!",
		"linux/x86_64":           "GOOS=linux GOARCH=amd64",
		"linux/ppc64le/power9":   "GOOS=linux GOARCH=ppc64le GOPPC64=power9",
		"windows/amd64:10.0.1.2": "GOOS=windows GOARCH=amd64",
		"linux/s390x/z":          "!",
		"linux/amd64/v5":         "!",
		"linux/arm64/v9x":        "!",
		"linux/riscv64/rva22u64": "GOOS=linux GOARCH=riscv64 GORISCV64=rva22u64",
		"linux/ppc64le/power7":   "!",
		"linux/386/sse2":         "GOOS=linux GOARCH=386 GO386=sse2",
	} {
		got, err := golang.Variables(platforms(t, in)[0])
		if want == "!" && !errors.Is(err, oci.ErrUnsupported) || want != "!" && (err != nil || strings.Join(got, " ") != want) {
			t.Errorf("%s: %q, %v, want %s", in, got, err, want)
		}
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	data := map[string]any{"Env": map[string]string{"A": "secret"}, "GoEnv": map[string]string{"GOPATH": "/home/me"}, "Git": map[string]any{"IsDirty": true, "Tag": "v1"}, "Timestamp": int64(7)}
	in := []string{"-X=a={{.Env.A}}", "{{if .Git.IsDirty}}{{.Git.Tag}}-dirty{{end}}", "{{.Timestamp}} {{.GoEnv.GOPATH}}", "{{printf `%.3s` .Env.A}}"}
	got, err := golang.Fill(in, data)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "filled in", got, []string{"-X=a=secret", "v1-dirty", "7 /home/me", "sec"})
	if got, err = golang.Fill(in, golang.Told(data)); err != nil {
		t.Fatal(err)
	}
	same(t, "told", got, []string{"-X=a={{.Env.A}}", "v1-dirty", "7 {{.GoEnv.GOPATH}}", "{{."})
	for in, want := range map[string]string{
		"{{.Env.B}}": `"B"`, "{{.Nothing}}": `"Nothing"`, "{{": "unclosed", "{{nofunc}}": "nofunc", "{{range 1000000000}}aaaaaaaaaaaaaaaaaaaaaaaa{{end}}": "too long",
	} {
		if _, err := golang.Fill([]string{in}, data); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
}

// No credentials, and no place of this machine.
func TestCleanRemote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://me:secret@git.example/a/b.git":          "git+https://git.example/a/b.git",
		"https://git.example/a/b?private_token=secret#x": "git+https://git.example/a/b",
		"git@git.example:a/b.git":                        "git+ssh://git.example/a/b.git",
		"ssh://git@git.example:2222/a/b.git":             "git+ssh://git.example:2222/a/b.git",
		"/home/me/repo":                                  "",
		"../repo":                                        "",
		"file:///home/me/r":                              "",
		`C:\Users\me\r`:                                  "",
		"ext::sh -c x":                                   "",
		"":                                               "",
		"https://":                                       "",
		"http://%zz":                                     "",
		"me:secret@h:a/b":                                "",
		"javascript://x/y:z":                             "",
	} {
		if got := golang.CleanRemote(in); got != want || strings.Contains(got, "secret") {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// kodata follows links within the repository, or the module where there is none,
// and never out of it.
func TestData(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links need rights on Windows")
	}
	w := newWorld(t)
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir, kodata string)
		want string // of the last file, or of the error
	}{
		{"a link to a file of the module", func(t *testing.T, dir, kodata string) { link(t, "../../../LICENSE", kodata+"/LICENSE") }, "var/run/ko/LICENSE 0555 0:0 free\n"},
		{"an absolute link into the module", func(t *testing.T, dir, kodata string) { link(t, dir+"/LICENSE", kodata+"/LICENSE") }, "var/run/ko/LICENSE 0555 0:0 free\n"},
		{"a link to a directory", func(t *testing.T, dir, kodata string) { link(t, "../../../third", kodata+"/third") }, "var/run/ko/third/deep/x 0555 0:0 x\n"},
		{"kodata is a link", func(t *testing.T, dir, kodata string) {
			must(t, os.Remove(kodata+"/a"))
			must(t, os.Remove(kodata))
			link(t, "../../third", kodata)
		}, "var/run/ko/deep/x 0555 0:0 x\n"},
		{"of a repository around the module", func(t *testing.T, dir, kodata string) {
			must(t, os.Mkdir(filepath.Join(filepath.Dir(dir), ".git"), 0o755))
			write(t, filepath.Join(filepath.Dir(dir), "out"), "out\n")
			link(t, "../../../../out", kodata+"/out")
		}, "var/run/ko/out 0555 0:0 out\n"},
		{"out of the module", func(t *testing.T, dir, kodata string) {
			write(t, filepath.Join(filepath.Dir(dir), "out"), "out\n")
			link(t, "../../../../out", kodata+"/out")
		}, "! leads out of"},
		{"out of the module by a directory", func(t *testing.T, dir, kodata string) { link(t, "/etc", kodata+"/etc") }, "! leads out of"},
		{"a loop", func(t *testing.T, dir, kodata string) { link(t, "..", kodata+"/up") }, "! leads into itself"},
		{"a link to itself", func(t *testing.T, dir, kodata string) { link(t, "self", kodata+"/self") }, "! too many links"},
		{"a link to nothing", func(t *testing.T, dir, kodata string) { link(t, "nothing", kodata+"/none") }, "! no such file"},
		{"a pipe", func(t *testing.T, dir, kodata string) { must(t, exec.Command("mkfifo", kodata+"/pipe").Run()) }, "! neither a file nor a directory"},
		{"a whiteout", func(t *testing.T, dir, kodata string) { write(t, kodata+"/.wh.x", "") }, "! .wh.x"},
		{"a file instead", func(t *testing.T, dir, kodata string) {
			must(t, os.RemoveAll(kodata))
			write(t, kodata, "")
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(module(t, strings.ReplaceAll(app, "\n-- ", "\n-- mod/")+"-- mod/LICENSE --\nfree\n-- mod/third/deep/x --\nx\n-- mod/cmd/app/kodata/a --\na\n"), "mod")
			c.make(t, dir, filepath.Join(dir, "cmd/app/kodata"))
			r, _, err := w.build(dir, []string{"./cmd/app"}, golang.Options{Env: []string{"GOFLAGS=-buildvcs=false"}}, build.Want{})
			want, bad := strings.CutPrefix(c.want, "! ")
			switch {
			case bad:
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
			case err != nil:
				t.Error(err)
			case c.want == "":
				if n := len(layers(r.Stacks[0])); n != 1 {
					t.Errorf("%d layers", n)
				}
			default:
				if got := entries(t, layers(r.Stacks[0])[0]); !slices.Contains(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	must(t, os.Symlink(to, path))
}

// With --debug the debugger that is on PATH starts the program, if it is one that
// can.
func TestDebugger(t *testing.T) {
	t.Parallel()
	dir := module(t, app+`
-- dlv/go.mod --
module github.com/go-delve/delve

go 1.26
-- dlv/cmd/dlv/main.go --
package main

func main() {}
-- dlv/cmd/other/main.go --
package main

func main() {}
`)
	compile := func(to, pkg string, env ...string) {
		t.Helper()
		cmd := exec.Command("go", "build", "-o", to, pkg)
		cmd.Dir, cmd.Env = filepath.Join(dir, "dlv"), append(cmd.Environ(), append(append([]string{}, quiet...), env...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name, "dlv") }
	compile(at("good"), "./cmd/dlv", "GOOS=linux", "GOARCH=amd64")
	compile(at("arm"), "./cmd/dlv", "GOOS=linux", "GOARCH=arm64")
	compile(at("other"), "./cmd/other", "GOOS=linux", "GOARCH=amd64")
	write(t, at("text"), "#!/bin/sh\n")
	compile(filepath.Join(dir, "gopath", "bin", "linux_amd64", "dlv"), "./cmd/dlv", "GOOS=linux", "GOARCH=amd64")
	goDir := filepath.Dir(goCommand(t))
	for name, want := range map[string]string{
		"good":  "",
		"empty": "no dlv on PATH: CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go install github.com/go-delve/delve/cmd/dlv@latest",
		"arm":   "is for linux/arm64, not for linux/amd64",
		"other": "is not github.com/go-delve/delve/cmd/dlv",
		"text":  "text",
		"found": "",
	} {
		w := newWorld(t)
		gopath := t.TempDir()
		if name == "found" {
			gopath = filepath.Join(dir, "gopath")
		}
		env := []string{"PATH=" + filepath.Join(dir, name) + string(os.PathListSeparator) + goDir, "GOPATH=" + gopath, "GOBIN=", "GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + t.TempDir()}
		r, _, err := w.build(dir, []string{"./cmd/app"}, golang.Options{Debug: true, Go: goCommand(t), Env: env}, build.Want{})
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c, err := r.Stacks[0].Config()
		must(t, err)
		same(t, name, c.Config.Entrypoint, []string{"/ko-app/dlv", "exec", "--listen=:40000", "--headless", "--log", "--accept-multiclient", "--api-version=2", "--", "/ko-app/app"})
		if list := layers(r.Stacks[0]); len(list) != 2 || !strings.HasPrefix(entries(t, list[1])[1], "ko-app/dlv 0555") {
			t.Errorf("%s: %d layers", name, len(list))
		}
	}
}

func goCommand(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("go")
	must(t, err)
	return path
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// What templates and the description know of a repository.
func TestGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	w, dir := newWorld(t), module(t, app)
	at := "2024-05-06T07:08:09Z"
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_DATE="+at, "GIT_COMMITTER_DATE="+at)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	git("tag", "v1.2.3")
	git("remote", "add", "origin", "https://me:secret@git.example/a/b.git")
	head := git("rev-parse", "HEAD")
	c := golang.Config{Ldflags: []string{"-X main.version={{.Git.Branch}},{{.Git.Tag}},{{.Git.FullCommit}},{{.Git.CommitDate}},{{.Git.CommitTimestamp}},{{.Git.TreeState}},{{.Git.IsDirty}}"}}
	describe := func() (string, build.About) {
		t.Helper()
		_, b := w.must(dir, []string{"./cmd/app"}, golang.Options{Config: c}, build.Want{})
		about, err := b.(build.Describer).Describe(t.Context())
		must(t, err)
		return about.Parameters["programs"].([]any)[0].(map[string]any)["ldflags"].([]string)[0], about
	}
	got, about := describe()
	if want := "-X main.version=main,v1.2.3," + head + ",2024-05-06T07:08:09Z,1714979289,clean,false"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s := about.Source; s == nil || s.URI != "git+https://git.example/a/b.git" || s.Digest["gitCommit"] != head || s.Changed {
		t.Errorf("source: %+v", s)
	}
	write(t, filepath.Join(dir, "new"), "")
	if got, about = describe(); !strings.HasSuffix(got, "dirty,true") || about.Source == nil || !about.Source.Changed {
		t.Errorf("%s, %+v", got, about.Source)
	}
}
