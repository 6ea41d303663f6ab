// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
)

// A repo is a repository of git.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T, text string) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := &repo{t, filepath.Join(t.TempDir(), "app.git")}
	must(t, os.Mkdir(r.dir, 0o755))
	r.git("init", "--quiet", "--initial-branch=main", ".")
	r.git("config", "uploadpack.allowAnySHA1InWant", "true")
	r.commit(text)
	return r
}

func (r *repo) commit(text string) string {
	r.t.Helper()
	fill(r.t, r.dir, text)
	r.git("add", "-A")
	r.git("-c", "protocol.file.allow=always", "commit", "--quiet", "-m", "it")
	return r.git("rev-parse", "HEAD")
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
		"GIT_ALLOW_PROTOCOL=file")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) url() string { return "file://" + r.dir }

func TestAddOfGit(t *testing.T) {
	t.Parallel()
	r := newRepo(t, "a=1 755:run=R 700:d/ 755:d/x=X l->a out->../../etc/passwd")
	first := r.git("rev-parse", "HEAD")
	r.git("tag", "-a", "v1", "-m", "one")
	sub := newRepo(t, "s=S")
	r.git("checkout", "--quiet", "-b", "dev")
	r.git("submodule", "--quiet", "add", sub.url(), "mod")
	r.commit("a=2")
	r.git("checkout", "--quiet", "main")
	must(t, os.RemoveAll(filepath.Join(r.dir, "mod")))
	second := r.commit("b=B")

	old := "n/ n/a=1 n/d/ 755,0,0:n/d/x=X n/l->a n/out->../../etc/passwd 755,0,0:n/run=R"
	now := strings.Replace(old, "n/a=1", "n/a=1 n/b=B", 1)
	sum := func(s place.Spec, c string) place.Spec {
		s.Checksum = c
		return s
	}
	for _, c := range []copyCase{
		{adding("/n", r.url()), now},
		{adding("/n", r.url()+"#main"), now},
		{adding("/n", r.url()+"?branch=main"), now},
		{adding("/n", r.url()+"#v1"), old},
		{adding("/n", r.url()+"?tag=v1"), old},
		{adding("/n", r.url()+"#tags/v1"), old},
		{adding("/n", r.url()+"#heads/main"), now},
		{adding("/n", r.url()+"#"+first), old},
		{adding("/n/", r.url()+"#main:d"), "n/ 755,0,0:n/x=X"},
		{adding("/n/", r.url()+"?ref=v1&subdir=d"), "n/ 755,0,0:n/x=X"},
		{adding("/n/", r.url()+"?ref=dev&subdir=mod"), "n/ n/s=S"},
		{adding("/n/", r.url()+"?ref=dev&subdir=mod&submodules=0"), "n/"},
		{sum(adding("/n", r.url()+"#main"), second), now},
		{sum(adding("/n", r.url()+"#main"), second[:9]), now},
		{sum(adding("/n", r.url()+"#main"), first), "! it is at commit " + second},
		{sum(adding("/n", r.url()+"#main"), "xyz"), "! want at least 7 digits"},
		{place.Spec{Sources: []string{r.url()}, Dest: "/n", Add: true, Chown: "5", Exclude: []string{"d", "?", "out"}}, "755,5,5:n/ 755,5,5:n/run=R"},
		{adding("/n", r.url()+"#none"), "! it has no branch or tag \"none\""},
		{adding("/n", r.url()+"#"+strings.Repeat("0", 40)), "! "},
		{adding("/n", r.url()+"#main:none"), "! it has no directory \"none\""},
		{adding("/n", r.url()+"#main:a"), "! it has no directory \"a\""},
		{adding("/n", r.url()+"#main:out"), "! it has no directory \"out\""},
		{adding("/n", r.url()+"#--upload-pack=touch"), "! is no name of a branch"},
		{adding("/n", r.url()+"#a:b?c=d#e"), "! it has no branch or tag \"a\""},
		{adding("/n", r.url()+"?x=1"), "! \"x\", which means nothing"},
		{adding("/n", r.url()+"?ref=a&tag=b"), "! two values"},
		{adding("/n", r.url()+"?keep-git-dir=x"), "! neither true nor false"},
		{adding("/n", "ssh://-oProxyCommand=x/app.git"), "! it is no URL of a repository"},
		{adding("/n", "ssh://host/-x"), "! it is no URL of a repository"},
		{adding("/n", "file:///nowhere/app.git"), "! git ls-remote: "},
	} {
		x := newWorld(t, build.Options{TempDir: t.TempDir()})
		x.set.AllowLocalGit()
		x.check(t, debian, c)
	}
	newWorld(t, build.Options{}).check(t, debian, copyCase{adding("/n", r.url()), "! not files outside of the context"})
}

// What was fetched is remembered by its commit; .git stays out unless it is asked for.
func TestGitIsKept(t *testing.T) {
	t.Parallel()
	r := newRepo(t, "a=1")
	cache := t.TempDir()
	add := func(url string) (string, *world) {
		x := newWorld(t, build.Options{CacheDir: cache, TempDir: t.TempDir()})
		x.set.AllowLocalGit()
		onto, _ := x.stack(t, "linux/amd64", debian)
		got, err := x.add(t, onto, adding("/n", url))
		if err != nil {
			t.Fatal(err)
		}
		if m := onto.Materials; len(m) != 1 || m[0].Digest["gitCommit"] != r.git("rev-parse", "HEAD") {
			t.Errorf("materials: %+v", m)
		}
		return got, x
	}
	url := r.url() + "#" + r.git("rev-parse", "HEAD")
	got, x := add(r.url() + "?keep-git-dir=1")
	if !strings.Contains(got, "n/.git/HEAD=") || strings.Contains(got, "logs") || len(x.e.Notes()) != 1 {
		t.Errorf("got %s; notes %q", got, x.e.Notes())
	}
	if got, _ := add(url); got != "n/ n/a=1" {
		t.Errorf("got %s", got)
	}
	must(t, os.Rename(r.dir, r.dir+".gone"))
	r.dir += ".gone"
	if got, _ := add(url); got != "n/ n/a=1" { // nobody has to be asked
		t.Errorf("again: %s", got)
	}
}
