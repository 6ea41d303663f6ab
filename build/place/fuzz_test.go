// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"path"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
)

var fuzzSeeds = []struct{ src, dest, exclude string }{
	{"a", "/n", ""}, {"*", "/n/", "*.x"}, {"d/**/x", "/n/", "**"}, {"../secret", "/", "!a"}, {"up/secret", "/n", ""}, {"abs", "/n", ""}, {"d/./s", "/n/", "s"},
	{"[a-d]", "/n/", "d\n!d/s"}, {`\*`, "/bin/", ""}, {"l/../..", "/../x/", ""}, {".", "/etc/alias", ""}, {"/", "/tmp/", ""}, {"d/", "/.wh.x/", ""}, {"\xff", "/\x00", "["},
}

// FuzzContext: nothing of what is outside of the context gets into a layer, and
// all that gets there is below the destination.
func FuzzContext(f *testing.F) {
	outer := folder(f, "secret=hidden c/a=A c/d/x=X c/d/s/y=Y c/l->d c/up->.. c/abs->/secret c/in->/a")
	for _, s := range fuzzSeeds {
		f.Add(s.src, s.dest, s.exclude, false)
		f.Add(s.src, s.dest, s.exclude, true)
	}
	f.Fuzz(func(t *testing.T, src, dest, exclude string, parents bool) {
		fuzzed(t, place.Context(path.Join(outer, "c"), nil), src, dest, exclude, parents)
	})
}

// FuzzStack is FuzzContext for COPY --from.
func FuzzStack(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s.src, s.dest, s.exclude, false)
		f.Add(s.src, s.dest, s.exclude, true)
	}
	f.Fuzz(func(t *testing.T, src, dest, exclude string, parents bool) {
		x := newWorld(t, build.Options{})
		from, _ := x.stack(t, "linux/amd64", "a=A d/ d/x=X d/s/ d/s/y=Y l->d up->.. abs->/secret in->/a h=>a")
		fuzzed(t, place.Stack(from), src, dest, exclude, parents)
	})
}

// FuzzOwner: whatever --chown, --chmod, /etc/passwd and /etc/group say, there is a
// layer whose owner fits into 31 bits, or an error of one line.
func FuzzOwner(f *testing.F) {
	for _, s := range []struct{ chown, chmod, passwd, group string }{
		{"app", "755", "app:x:1:2::/:", ""}, {"app:staff", "u=rwX,go-w", "app:x:1:2", "staff:x:3:app"}, {"0:x", "+s", "", "x:y:z"},
		{"-1", "7777", "\n\n#", ""}, {"4294967296:1", "a=", ":::::", ":::"}, {"app", "ug+", "app:x:99999999999:1", ""}, {"a\nb", "0", "a\x00:x:1:1", ""},
	} {
		f.Add(s.chown, s.chmod, s.passwd, s.group)
	}
	dir := folder(f, "a=A d/x=X")
	f.Fuzz(func(t *testing.T, chown, chmod, passwd, group string) {
		if len(chown)+len(chmod)+len(passwd)+len(group) > 500 {
			return
		}
		x := newWorld(t, build.Options{})
		onto, _ := x.stack(t, "linux/amd64", "etc/")
		for name, text := range map[string]string{"passwd": passwd, "group": group} {
			s := place.Spec{Inline: []place.File{{Name: name, Data: []byte(text)}}, Dest: "/etc/", At: "Dockerfile:2"}
			must(t, x.set.Add(t.Context(), x.e, onto, s, "COPY it"))
		}
		s := place.Spec{Sources: []string{"a", "d"}, Dest: "/n/", From: place.Context(dir, nil), Chown: chown, Chmod: chmod, At: "Dockerfile:3"}
		if err := x.set.Add(t.Context(), x.e, onto, s, "COPY it"); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		tree, err := onto.Tree(t.Context())
		must(t, err)
		for name, n := range tree.All("n") {
			if h := n.Header; h.Uid < 0 || h.Gid < 0 || h.Uid > 1<<31-1 || h.Gid > 1<<31-1 || h.Mode&^0o7777 != 0 {
				t.Errorf("%s is of %d:%d, %o", name, h.Uid, h.Gid, h.Mode)
			}
		}
	})
}

func fuzzed(t *testing.T, from place.Source, src, dest, exclude string, parents bool) {
	if len(src)+len(dest)+len(exclude) > 200 || strings.Contains(src, "://") || strings.Contains(src, "@") {
		return
	}
	x := newWorld(t, build.Options{})
	s := place.Spec{Sources: []string{src}, Dest: dest, From: from, Parents: parents, At: "Dockerfile:3"}
	if exclude != "" {
		s.Exclude = strings.Split(exclude, "\n")
	}
	onto, _ := x.stack(t, "linux/amd64", "etc/ etc/real=1")
	if err := x.set.Add(t.Context(), x.e, onto, s, "COPY it"); err != nil || len(onto.Blobs()) == 1 {
		return
	}
	got := list(t, onto.Blobs()[1])
	if strings.Contains(got, "hidden") {
		t.Errorf("%q to %q has %q", src, dest, got)
	}
	tree, err := onto.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	below := path.Clean("/" + dest)[1:]
	for name, n := range tree.All(".") {
		if n.Layer == 1 && name != below && !strings.HasPrefix(name, below+"/") && below != "" && !strings.HasPrefix(below, name+"/") {
			t.Errorf("%q to %q has %q", src, dest, name)
		}
	}
}
