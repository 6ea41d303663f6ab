// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var updateDifferences = flag.Bool("update-differences", false, "write docs/known-differences-dockerfile.md")

// Dockerfiles give the images that their documentation says and that buildah
// makes, but for the known differences; and a Docker engine sees in them what
// their layers say.
func TestDockerfiles(t *testing.T) {
	t.Parallel()
	l, cases := newLab(t), readCases(t)
	var mu sync.Mutex
	built := map[*dockerfileCase]*picture{}
	t.Run("build", func(t *testing.T) {
		l.warm(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if p := l.check(t, c); p != nil {
					mu.Lock()
					defer mu.Unlock()
					built[c] = p
				}
			})
		}
	})
	t.Run("run", func(t *testing.T) { l.runAll(t, built) })
}

// warm lets buildah pull the bases once, before many ask for them.
func (l *lab) warm(t *testing.T) {
	for name := range bases() {
		if name == "windows" || name == "multi" || os.Getuid() != 0 {
			continue
		}
		if bin, err := exec.LookPath("buildah"); err == nil {
			if _, errOut, err := l.within(t, l.dir, bin, l.buildah("pull", "-q", "--tls-verify=false", l.registry+"/"+name)...); err != nil {
				t.Fatalf("buildah pull: %v: %s", err, errOut)
			}
		}
	}
}

func (l *lab) buildah(args ...string) []string {
	return append([]string{"--storage-driver", l.driver, "--root", filepath.Join(l.dir, "storage"), "--runroot", filepath.Join(l.dir, "run")}, args...)
}

// check builds a case with both and compares; it returns the image of this
// machine's platform.
func (l *lab) check(t *testing.T, c *dockerfileCase) *picture {
	dir := c.lay(t, l)
	var args []string
	for _, a := range c.args {
		args = append(args, l.expand(c, a))
	}
	layout := filepath.Join(filepath.Dir(dir), "dray")
	mine := append([]string{"build", "dockerfile", "-t", "oci:" + layout + ":1"}, args...)
	for _, a := range c.dray {
		mine = append(mine, l.expand(c, a))
	}
	out, notes, err := l.within(t, dir, drayBin, append(mine, ".")...)
	if c.fails != "" {
		if err == nil || !strings.Contains(notes, l.expand(c, c.fails)) || strings.Count(notes, "\n") > 2 {
			t.Errorf("dray: %v: %s\nwant %q", err, notes, c.fails)
		}
		if out != "" {
			t.Errorf("dray prints %q, and fails", out)
		}
		l.compare(t, c, dir, args, nil)
		return nil
	}
	if err != nil {
		t.Fatalf("dray %s: %v: %s", strings.Join(mine, " "), err, notes)
	}
	for _, want := range c.notes {
		if !strings.Contains(notes, want) {
			t.Errorf("dray says %q, want %q", notes, want)
		}
	}
	all, err := readLayout(layout)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range all {
		if err := p.checkHistory(); err != nil {
			t.Error(err)
		}
		l.checkPicture(t, c, name, p, len(all) > 1)
	}
	p := all["linux/"+runtime.GOARCH]
	if p != nil {
		l.compare(t, c, dir, args, p)
	}
	return p
}

// checkPicture compares an image with what the case says of it.
func (l *lab) checkPicture(t *testing.T, c *dockerfileCase, name string, p *picture, several bool) {
	t.Helper()
	base := l.base(c.base, name)
	if base == nil {
		t.Fatalf("the base %s is not for %s", c.base, name)
	}
	suffix := ""
	if several {
		suffix = " " + name
	}
	for i, d := range base.layers {
		if i >= len(p.layers) || p.layers[i].Digest != d.Digest {
			t.Fatalf("%s: layer %d is not that of the base", name, i)
		}
	}
	if len(p.History) < len(base.History) || !slices.Equal(p.History[:len(base.History)], base.History) {
		t.Errorf("%s: the history does not begin with that of the base: %v", name, p.History)
	}
	var lines []string
	for _, h := range p.History[min(len(p.History), len(base.History)):] {
		lines = append(lines, map[bool]string{true: "- ", false: "+ "}[h.Empty]+h.CreatedBy)
	}
	for part, got := range map[string]string{"tree": p.tree.changes(base.tree), "config": p.configChanges(base), "history": strings.Join(lines, "\n")} {
		want, ok := c.parts[part+suffix]
		if !ok {
			want, ok = c.parts[part]
		}
		if want = l.expand(c, want); ok && got != want {
			t.Errorf("%s: %s:\n%s\nwant:\n%s", name, part, got, want)
		}
	}
	var kept []string
	for at, n := range p.tree {
		switch {
		case n.layer < len(base.layers) || n.time.Equal(epoch):
		case n.time.Equal(baseTime):
			kept = append(kept, at)
		default:
			t.Errorf("%s says %s", at, n.time)
		}
	}
	slices.Sort(kept)
	if got := strings.Join(kept, "\n"); got != c.parts["times"] {
		t.Errorf("%s: times are kept of:\n%s\nwant:\n%s", name, got, c.parts["times"])
	}
}

// compare builds a case with buildah and compares its image with dray's; nil: it
// has none.
func (l *lab) compare(t *testing.T, c *dockerfileCase, dir string, args []string, p *picture) {
	t.Helper()
	if c.only != "" {
		return
	}
	bin := need(t, "buildah")
	if os.Getuid() != 0 {
		missing(t, "buildah needs root here")
	}
	to := filepath.Join(filepath.Dir(dir), "buildah")
	theirs := []string{"bud", "--isolation", "chroot", "--format", "docker", "--tls-verify=false", "--pull=false", "--identity-label=false", "--no-cache", "-t", "dir:" + to}
	if c.layers {
		theirs = append(theirs, "--layers")
	}
	_, errOut, err := l.within(t, dir, bin, l.buildah(append(append(theirs, args...), ".")...)...)
	switch refused := err != nil; {
	case refused && p != nil && !c.refuses:
		t.Fatalf("buildah refuses it: %v: %s", err, errOut)
	case !refused && p == nil && !c.accepts:
		t.Fatal("buildah accepts it")
	case refused && c.accepts, !refused && c.refuses:
		t.Fatalf("the known difference does not occur: buildah: %v: %s", err, errOut)
	case refused || p == nil:
		return
	}
	q, err := readDir(to)
	if err != nil {
		t.Fatalf("buildah's image: %v", err)
	}
	for what, detail := range p.differences(q, c.layers) {
		if !c.knows(what) {
			t.Errorf("%s: %s", what, detail)
		}
	}
	for _, k := range c.known {
		if !k.seen {
			t.Errorf("the known difference %q does not occur", k.what)
		}
	}
}

// knows reports whether a difference is known, and notes that it occurs.
func (c *dockerfileCase) knows(what string) bool {
	for i := range c.known {
		if ok, err := path.Match(c.known[i].what, what); ok && err == nil {
			c.known[i].seen = true
			return true
		}
	}
	return false
}

// differences are those from another image, which buildah made: what differs,
// and how. Times are not among them: buildah keeps those of the context.
func (p *picture) differences(q *picture, history bool) map[string]string {
	out := map[string]string{}
	for at := range both(p.tree, q.tree) {
		a, b := p.tree[at], q.tree[at]
		switch {
		case a == nil:
			out[at+" missing"] = "dray has none, buildah has " + b.String()
		case b == nil:
			out[at+" extra"] = "dray has " + a.String() + ", buildah none"
		default:
			x, y := a.aspects(), b.aspects()
			for k := range both(x, y) {
				if x[k] != y[k] {
					out[at+" "+k] = fmt.Sprintf("dray has %q, buildah %q", x[k], y[k])
				}
			}
		}
	}
	x, y := p.members(), q.members()
	for k := range both(x, y) {
		if x[k] != y[k] {
			out["config "+k] = fmt.Sprintf("dray has %s, buildah %s", x[k], y[k])
		}
	}
	if err := q.checkHistory(); err != nil {
		out["history lines"] = "buildah's: " + err.Error()
	}
	if a, b := flags(p), flags(q); history && a != b {
		out["history"] = fmt.Sprintf("dray has %s, buildah %s: %v %v", a, b, p.History, q.History)
	}
	return out
}

// flags shows which lines of a history have a layer.
func flags(p *picture) (out string) {
	for _, h := range p.History {
		out += map[bool]string{true: "-", false: "+"}[h.Empty]
	}
	return out
}

func both[V any](a, b map[string]V) map[string]bool {
	out := map[string]bool{}
	for k := range maps.Keys(a) {
		out[k] = true
	}
	for k := range maps.Keys(b) {
		out[k] = true
	}
	return out
}

// The table of the known differences is that of the cases.
func TestKnownDifferences(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "docs", "known-differences-dockerfile.md")
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	prose, _, _ := strings.Cut(string(have), "| case |")
	var b strings.Builder
	b.WriteString(prose + "| case | what differs | why |\n| --- | --- | --- |\n")
	for _, c := range readCases(t) {
		for _, k := range c.known {
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", c.name, k.what, strings.ReplaceAll(k.why, "|", `\|`))
		}
	}
	if b.String() == string(have) {
		return
	}
	if !*updateDifferences {
		t.Fatalf("%s is not what the cases say: go test ./internal/peers -run TestKnownDifferences -update-differences", file)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
