// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// git runs git in a directory and returns the first line that it prints; "" if
// there is none, or it fails.
func git(ctx context.Context, dir string, env []string, args ...string) (string, bool) {
	args = append([]string{"-c", "log.showSignature=false", "-c", "core.fsmonitor=false"}, args...)
	out, _, err := command(ctx, dir, append(env[:len(env):len(env)], "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0"), "git", args...)
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), err == nil
}

// gitData is .Git of templates. Where there is no repository its values are empty,
// as ko's are.
func gitData(ctx context.Context, dir string, env []string) map[string]any {
	ask := func(args ...string) string { s, _ := git(ctx, dir, env, args...); return s }
	tag, tagged := git(ctx, dir, env, "describe", "--tags", "--abbrev=0", "HEAD")
	full := ask("rev-parse", "--verify", "--quiet", "HEAD")
	if full != "" && !tagged {
		tag = "v0.0.0"
	}
	date := time.Time{}
	if n, err := strconv.ParseInt(ask("log", "-1", "--format=%ct"), 10, 64); err == nil {
		date = time.Unix(n, 0)
	}
	status, ok := git(ctx, dir, env, "status", "--porcelain")
	dirty := full != "" && (status != "" || !ok)
	return map[string]any{
		"Branch": ask("rev-parse", "--abbrev-ref", "HEAD"), "Tag": tag,
		"ShortCommit": ask("log", "-1", "--format=%h"), "FullCommit": full,
		"CommitDate": date.UTC().Format(time.RFC3339), "CommitTimestamp": date.UTC().Unix(),
		"IsDirty": dirty, "IsClean": !dirty, "TreeState": map[bool]string{true: "dirty", false: "clean"}[dirty],
	}
}

// remote is where a repository came from, as SPDX and SLSA write it: without
// credentials. "" if that is no place of the network.
func remote(ctx context.Context, dir string, env []string) string {
	s, _ := git(ctx, dir, env, "config", "--get", "remote.origin.url")
	return cleanRemote(s)
}

func cleanRemote(s string) string {
	if host, path, ok := strings.Cut(s, ":"); ok && !strings.ContainsAny(path, ":@") && !strings.HasPrefix(path, "//") && !strings.Contains(host, "/") && len(host) > 1 {
		s = "ssh://" + host + "/" + strings.TrimPrefix(path, "/") // as scp writes it
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !strings.Contains(" http https ssh git ", " "+u.Scheme+" ") {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return "git+" + u.String()
}

// worktree is the directory under version control that a directory is in, or or
// if it is in none.
func worktree(dir, or string) string {
	for d := dir; ; d = filepath.Dir(d) {
		for _, name := range []string{".git", ".hg", ".svn", ".bzr", ".fslckout", "_FOSSIL_", ".jj"} {
			if _, err := os.Lstat(filepath.Join(d, name)); err == nil {
				return d
			}
		}
		if d == filepath.Dir(d) {
			return cmp.Or(or, dir)
		}
	}
}
