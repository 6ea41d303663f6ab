// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// git plans a repository: the files of a commit as a tar, which is remembered.
func (p *plan) git(ctx context.Context, e *build.Engine, src string) error {
	g, err := parseGit(src)
	if err != nil {
		return p.of(src, err)
	}
	g.keep = g.keep || p.s.KeepGit
	if p.s.Checksum != "" {
		if err := g.option("checksum", p.s.Checksum); err != nil {
			return err
		}
		if err := g.check(); err != nil {
			return err
		}
	}
	r := &gitRun{ctx: ctx, gitRef: g, local: p.o.localGit}
	f, err := r.tar(e)
	if err != nil {
		return p.of(src, err)
	}
	if g.keep {
		e.Note("%s: .git is not the same each time it is fetched", Discreet(src))
	}
	p.materials = append(p.materials, build.Material{Name: "source", URI: "git+" + Discreet(g.remote), Digest: map[string]string{"gitCommit": f.Commit}})
	p.unpack(&archive{name: Discreet(src), known: "git " + string(f.Digest), content: f.open}, e)
	return nil
}

// A gitRun runs git.
type gitRun struct {
	gitRef
	ctx   context.Context
	dir   string // of the work tree; "": none yet
	local bool   // file:// is allowed, for tests
}

// tar fetches what is not remembered.
func (r *gitRun) tar(e *build.Engine) (*fetched, error) {
	if strings.HasPrefix(r.remote, "file:") && !r.local {
		return nil, oci.Errorf(oci.ErrInvalid, "only http, https, ssh and git are allowed, not files outside of the context")
	}
	commit, name, err := r.resolve()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(commit, r.checksum) {
		return nil, oci.Errorf(oci.ErrCorrupt, "it is at commit %s, not at %s", commit, r.checksum)
	}
	key := fmt.Sprintf("git %s %s %s %t %t", r.remote, commit, r.subdir, r.keep, r.submodules)
	if f := recall(e, key); f != nil {
		return f, nil
	}
	dir, err := os.MkdirTemp(e.Options().TempDir, "dray-git-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r.dir = dir
	if err := r.checkout(commit, name); err != nil {
		return nil, err
	}
	f, err := spool(r.ctx, e, r.pack)
	if err != nil {
		return nil, err
	}
	f.Commit = commit
	f.remember(e, key)
	return f, nil
}

// resolve finds the commit, and the full name of a ref that is at it, if one is.
func (r *gitRun) resolve() (commit, name string, err error) {
	if commitForm.MatchString(r.ref) {
		return r.ref, "", nil
	}
	ref := r.ref
	if ref == "" {
		ref = "HEAD"
	}
	out, err := r.run("ls-remote", "--", r.remote, ref, ref+"^{}")
	if err != nil {
		return "", "", err
	}
	at := map[string]string{}
	for line := range strings.Lines(out) {
		sha, full, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if commitForm.MatchString(sha) {
			at[full] = sha
		}
	}
	for _, full := range []string{ref, "refs/heads/" + ref, "refs/tags/" + ref, "refs/" + ref} {
		if sha := at[full+"^{}"]; sha != "" { // of a tag with a text
			return sha, full, nil
		}
		if sha := at[full]; sha != "" {
			return sha, full, nil
		}
	}
	return "", "", oci.Errorf(oci.ErrNotFound, "it has no branch or tag %s", oci.Quote(ref))
}

// checkout fetches a commit and lays out its files.
func (r *gitRun) checkout(commit, name string) error {
	what := name
	if what == "" {
		what = commit
	}
	steps := [][]string{{"init", "--quiet", "--template=", "."}, {"remote", "add", "origin", r.remote}, {"fetch", "--quiet", "--depth=1", "--no-tags", "origin", what}}
	for _, s := range steps {
		if _, err := r.run(s...); err != nil {
			if name != "" && strings.Contains(err.Error(), "does not support shallow") { // a server of plain files
				_, err = r.run("fetch", "--quiet", "--no-tags", "origin", what)
				if err == nil {
					continue
				}
			}
			if s[0] != "fetch" || name != "" {
				return err
			}
			// Not every server gives a commit by its number.
			if _, err := r.run("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"); err != nil {
				return err
			}
		}
	}
	if _, err := r.run("cat-file", "-e", commit+"^{commit}"); err != nil {
		if name != "" {
			return oci.Errorf(oci.ErrBusy, "%s was moved while it was fetched", oci.Quote(r.ref))
		}
		return oci.Errorf(oci.ErrNotFound, "it has no commit %s", commit)
	}
	if _, err := r.run("checkout", "--quiet", "--detach", commit); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(r.dir, ".gitmodules")); err == nil && r.submodules {
		if _, err := r.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"); err != nil {
			return err
		}
	}
	if !r.keep {
		return nil
	}
	for _, gone := range []string{"FETCH_HEAD", "logs"} {
		if err := os.RemoveAll(filepath.Join(r.dir, ".git", gone)); err != nil {
			return err
		}
	}
	_, err := r.run("remote", "set-url", "origin", Discreet(r.remote))
	return err
}

// pack writes the files as a tar.
func (r *gitRun) pack(out io.Writer) error {
	var ignore []string
	if !r.keep {
		ignore = []string{".git", "**/.git"}
	}
	f := &folder{dir: r.dir, ignore: ignore, git: true}
	v, err := f.open(r.ctx)
	if err != nil {
		return err
	}
	defer v.close()
	at, err := v.find(r.subdir)
	if err != nil || !at.dir {
		return oci.Errorf(oci.ErrNotFound, "it has no directory %s", oci.Quote(r.subdir))
	}
	part, err := v.part([]pick{{from: at.real, to: "."}}, nil)
	if err != nil {
		return err
	}
	w := &writer{ctx: r.ctx, tw: tar.NewWriter(out)}
	if err := part.write(w); err != nil {
		return err
	}
	return w.tw.Close()
}

// run runs git in its directory, with nothing of the user's but what ssh and
// proxies need: no settings, no hooks, and nobody is asked for a password.
func (r *gitRun) run(args ...string) (string, error) {
	settings := []string{"core.hooksPath=/dev/null", "core.autocrlf=false", "core.symlinks=true", "core.fsmonitor=false", "gc.auto=0", "advice.detachedHead=false",
		"init.defaultBranch=main", "credential.helper=", "core.askPass="}
	var all []string
	for _, s := range settings {
		all = append(all, "-c", s)
	}
	cmd := exec.CommandContext(r.ctx, "git", append(all, args...)...)
	cmd.Dir = r.dir
	protocols := "http:https:ssh:git"
	if r.local {
		protocols += ":file"
	}
	for _, v := range cmd.Environ() {
		if name, _, _ := strings.Cut(v, "="); keepsEnv(name) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_ALLOW_PROTOCOL="+protocols, "GIT_LFS_SKIP_SMUDGE=1", "LC_ALL=C")
	if r.dir == "" { // no repository that happens to be around
		cmd.Env = append(cmd.Env, "GIT_DIR="+os.DevNull)
	}
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limited{&out, 64 << 20}, &limited{&bad, 1 << 20}
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case r.ctx.Err() != nil:
		return "", context.Cause(r.ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", oci.Errorf(oci.ErrUnsupported, "there is no program git to fetch it with")
	case cmd.ProcessState != nil && cmd.ProcessState.ExitCode() < 0: // by a signal
		return "", oci.Wrap("", "git "+args[0], err)
	}
	return "", oci.Errorf(oci.ErrBusy, "git %s: %s", args[0], r.complaint(bad.String()))
}

// keepsEnv reports whether git gets a variable of the environment.
func keepsEnv(name string) bool {
	return !strings.HasPrefix(name, "GIT_") || strings.HasPrefix(name, "GIT_SSH") || strings.HasPrefix(name, "GIT_SSL_")
}

// complaint is the first line of what git says is wrong, without credentials.
func (r *gitRun) complaint(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if why, ok := strings.CutPrefix(line, "fatal: "); ok {
			return oci.Quote(strings.ReplaceAll(why, r.remote, Discreet(r.remote)))
		}
	}
	return "it fails"
}

// limited drops what is more than a bound.
type limited struct {
	*bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.Buffer.Write(p[:n])
	return len(p), nil
}
