// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var epoch = time.Unix(0, 0)

// A sight is what the probe reports.
type sight struct {
	Files     []seenFile
	User, Dir string
	Env       []string
}

type seenFile struct {
	Path, Owner, Sum, To string
	Mode                 uint32
	Size                 int64
	Inode                uint64
	Attrs                map[string]string
}

// runAll runs every image in a Docker engine: what a program in it sees has to be
// what the layers and the config say.
func (l *lab) runAll(t *testing.T, built map[*dockerfileCase]*picture) {
	e := newDockerEngine(t)
	t.Run("images", func(t *testing.T) {
		for c, p := range built {
			if c.engine == "no" {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				l.runOne(t, e, c, p)
			})
		}
	})
}

func (l *lab) runOne(t *testing.T, e dockerEngine, c *dockerfileCase, p *picture) {
	docker := func(args ...string) string {
		t.Helper()
		out, errOut, err := l.within(t, l.dir, e.docker, append([]string{"-H", "unix://" + e.sock}, args...)...)
		if err != nil {
			t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, errOut)
		}
		return out
	}
	name := "cases/" + strings.ToLower(c.name) + ":1"
	_, errOut, err := l.within(t, l.dir, e.env, "DOCKER_HOST=unix://"+e.sock, drayBin, "copy", "--platform="+p.OS+"/"+p.Architecture,
		"oci:"+filepath.Join(l.dir, "cases", c.name, "dray")+":1", "docker-daemon:"+name)
	if err != nil {
		t.Fatalf("load: %v: %s", err, errOut)
	}
	if c.runs != "" {
		if out := strings.TrimSpace(docker("run", "--rm", "--network=none", name)); out != c.runs {
			t.Errorf("it prints %s\nwant      %s", out, c.runs)
		}
	}
	out := docker("run", "--rm", "--network=none", "-v", l.probe+":/.probe:ro", "--entrypoint", "/.probe", name)
	var s sight
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := s.tree(p.tree)
	for at := range both(p.tree, seen) {
		a, b := p.tree[at], seen[at]
		switch {
		case ofEngine(at):
		case b == nil:
			t.Errorf("the engine has no %s, the layers %s", at, a)
		case a == nil && (at == "/etc" || p.volume(at)): // it makes one
		case a == nil:
			t.Errorf("the engine has %s %s, no layer has", at, b)
		case fmt.Sprint(a.aspects()) != fmt.Sprint(b.aspects()):
			t.Errorf("%s: the engine has %s, the layers %s", at, b, a)
		}
	}
	if dir, _ := p.Config["WorkingDir"].(string); s.Dir != p.tree.really(path.Clean("/"+dir)) {
		t.Errorf("it runs in %s, the config says %s", s.Dir, dir)
	}
	for _, v := range slices.Concat([]any{}, list(p.Config["Env"])) {
		if !slices.Contains(s.Env, v.(string)) {
			t.Errorf("the environment %q lacks %q", s.Env, v)
		}
	}
	if want := c.parts["user"]; want != "" && s.User != want {
		t.Errorf("it runs as %s, want %s", s.User, want)
	}
}

// volume reports whether a volume is at a path or below it.
func (p *picture) volume(at string) bool {
	all, _ := p.Config["Volumes"].(map[string]any)
	for v := range all {
		if v == at || strings.HasPrefix(v, at+"/") {
			return true
		}
	}
	return false
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// ofEngine are files that the engine puts into a container.
func ofEngine(at string) bool {
	switch at {
	case "/", "/.dockerenv", "/.probe", "/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab":
		return true
	}
	return false
}

// tree are the files that were seen. A small text is known by its sum.
func (s *sight) tree(like tree) tree {
	t, inodes := tree{}, map[uint64]*node{}
	slices.SortFunc(s.Files, func(a, b seenFile) int { return strings.Compare(a.Path, b.Path) })
	kinds := map[uint32]byte{syscall.S_IFDIR: 'd', syscall.S_IFREG: 'f', syscall.S_IFLNK: 'l', syscall.S_IFIFO: 'p', syscall.S_IFCHR: 'c', syscall.S_IFBLK: 'b'}
	for _, f := range s.Files {
		n := &node{kind: kinds[f.Mode&syscall.S_IFMT], mode: int64(f.Mode & 0o7777), owner: f.Owner, size: f.Size, sum: f.Sum, to: f.To, attrs: f.Attrs}
		if one := like[f.Path]; one != nil {
			if one.sum == f.Sum {
				n.text = one.text
			}
			if n.kind == 'c' || n.kind == 'b' {
				n.to = one.to
			}
		}
		if twin := inodes[f.Inode]; twin != nil && n.kind != 'd' {
			n = twin
		}
		inodes[f.Inode] = n
		t[f.Path] = n
	}
	t.join()
	return t
}
