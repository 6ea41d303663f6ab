// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
)

// debian is a base whose bin is a link, and whose tmp is open to all.
const debian = "usr/ usr/bin/ bin->usr/bin etc/ 1777:tmp/ var/ run/ var/run->/run etc/resolv.conf->../run/resolv.conf etc/real=1 etc/alias->real " +
	"srv/ 750,5,6:srv/sub/ srv/sub/old=1 etc/passwd=root:x:0:0:root:: etc/group=x"

// A copyCase is a COPY, and the layer that it makes.
type copyCase struct {
	spec place.Spec
	want string // or, of an error, a part of it behind "! "
}

func (x *world) check(t *testing.T, base string, c copyCase) {
	t.Helper()
	onto, _ := x.stack(t, "linux/amd64", base)
	got, err := x.add(t, onto, c.spec)
	if part, ok := strings.CutPrefix(c.want, "! "); ok {
		if err == nil {
			t.Errorf("%q to %s: got %s, want an error with %q", c.spec.Sources, c.spec.Dest, got, part)
		} else if !strings.HasPrefix(err.Error(), "Dockerfile:3: ") || !strings.Contains(err.Error(), part) {
			t.Errorf("%q to %s: got the error %q, want %q", c.spec.Sources, c.spec.Dest, err, part)
		}
		return
	}
	if err != nil || got != c.want {
		t.Errorf("%q to %s %v:\n got %s, %v\nwant %s", c.spec.Sources, c.spec.Dest, c.spec.Exclude, got, err, c.want)
	}
}

func copyOf(dest string, sources ...string) place.Spec {
	return place.Spec{Sources: sources, Dest: dest}
}

func TestCopyOfContext(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a=A b=B 755:run.sh=R 700:d/ d/x=X d/sub/ 640:d/sub/y=Y d/l->x d/abs->/etc/passwd d/e/ la->a ld->d lout->../out labs->/a lgone->none "+
		".hidden=h 4755:suid=S h/one=1 h/two=>h/one")
	src := place.Context(dir, nil)
	for _, c := range []copyCase{
		// Files.
		{copyOf("/app", "a"), "app=A"},
		{copyOf("/app/", "a"), "app/ app/a=A"},
		{copyOf("/x/y/app", "./a"), "x/ x/y/ x/y/app=A"},
		{copyOf("/app", "/a"), "app=A"},
		{copyOf("/app", "run.sh"), "755,0,0:app=R"},
		{copyOf("/app", "suid"), "4755,0,0:app=S"},
		{copyOf("/bin", "a"), "usr/bin/a=A"},   // a link to a directory
		{copyOf("/bin/t", "a"), "usr/bin/t=A"}, // through a link
		{copyOf("/bin/", "a", "b"), "usr/bin/a=A usr/bin/b=B"},
		{copyOf("/etc/alias", "a"), "etc/real=A"}, // the file that a link leads to
		{copyOf("/etc/resolv.conf", "a"), "run/resolv.conf=A"},
		{copyOf("/etc/real", "a"), "etc/real=A"},
		{copyOf("/etc", "a"), "etc/a=A"},
		{copyOf("/", "a"), "a=A"},
		{copyOf("/tmp/", "a"), "1777,0,0:tmp/ tmp/a=A"}, // Docker makes it anew
		{copyOf("/app/../x", "a"), "x=A"},
		// Links as sources.
		{copyOf("/app", "la"), "app=A"},
		{copyOf("/app/", "la"), "app/ app/la=A"},
		{copyOf("/app", "labs"), "app=A"},
		{copyOf("/app", "ld/x"), "app=X"},
		{copyOf("/app", "ld"), "app/ app/abs->/etc/passwd app/e/ app/l->x app/sub/ 640,0,0:app/sub/y=Y app/x=X"},
		// Directories.
		{copyOf("/app", "d"), "app/ app/abs->/etc/passwd app/e/ app/l->x app/sub/ 640,0,0:app/sub/y=Y app/x=X"},
		{copyOf("/srv", "d"), "srv/abs->/etc/passwd srv/e/ srv/l->x srv/sub/ 640,0,0:srv/sub/y=Y srv/x=X"}, // what is nested gets the source's mode
		{copyOf("/bin/", "d/sub"), "640,0,0:usr/bin/y=Y"},
		{copyOf("/app/", "d/sub", "a"), "app/ 640,0,0:app/y=Y app/a=A"},
		{copyOf("/n", "d/e"), "n/"},
		{copyOf("/h", "h"), "h/ h/one=1 h/two=>h/one"},
		// Wildcards.
		{copyOf("/w/", "?"), "w/ w/a=A w/b=B w/abs->/etc/passwd w/e/ w/l->x w/sub/ 640,0,0:w/sub/y=Y w/x=X w/one=1 w/two=>w/one"},
		{copyOf("/w/", "[ab]"), "w/ w/a=A w/b=B"},
		{copyOf("/w/", "d/*b/y"), "w/ 640,0,0:w/y=Y"},
		{copyOf("/w/", "ld/*b"), "w/ 640,0,0:w/y=Y"},
		{copyOf("/w/", "none*"), "none"},
		{copyOf("/w/", "none/*"), "none"},
		{copyOf("/w/", "none*", "a"), "w/ w/a=A"},
		{copyOf("/w", "ru*"), "755,0,0:w=R"},
		{copyOf("/w", "[ab]"), "! several sources need a destination that ends with a slash: /w/"},
		{copyOf("/w/", "[a"), "! syntax error in pattern"},
		{copyOf("/w/", "l*"), "! \"lgone\", a link to \"none\",: not found"},
		// What is wrong.
		{copyOf("/w", "a", "b"), "! ends with a slash"},
		{copyOf("/w", "none"), "! \"none\": not found in the context"},
		{copyOf("/w", "a/b"), "! \"a\" is no directory"},
		{copyOf("/w", "a/"), "w=A"}, // a slash at the end of a source means nothing
		{copyOf("/w", "../a"), "! \"../a\" leads out of the context"},
		{copyOf("/w", "d/../../a"), "! leads out of the context"},
		{copyOf("/w", "lout"), "! \"lout\", a link to \"../out\", leads out of the context"},
		{copyOf("/w", "lgone"), "! not found in the context"},
		{copyOf("/w", "d/abs"), "! \"d/abs\", a link to \"/etc/passwd\",: not found"},
		{copyOf("/etc/real", "d"), "! \"etc/real\" is a file in the base"},
		{copyOf("/etc/real/", "a"), "! \"etc/real\" is a file in the base"},
		{copyOf("w", "a"), "! is not absolute"},
		{copyOf("/w", "https://host/x"), "! COPY takes no URL"},
		{place.Spec{Dest: "/w"}, "! no source"},
	} {
		c.spec.From = src
		newWorld(t, build.Options{}).check(t, debian, c)
	}
}

// Files with several names stay one, but for a name that another source brings
// again: that one is of the file that comes later.
func TestLinksOfSeveralSources(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a/f1=one a/f2=>a/f1 a/f3=>a/f1 b/f1=two c/f2=three")
	for _, c := range []copyCase{
		{copyOf("/n/", "a"), "n/ n/f1=one n/f2=>n/f1 n/f3=>n/f1"},
		{copyOf("/n/", "a", "b"), "n/ n/f2=one n/f3=>n/f2 n/f1=two"},
		{copyOf("/n/", "b", "a"), "n/ n/f1=one n/f2=one n/f3=>n/f2"},
		{copyOf("/n/", "a", "c"), "n/ n/f1=one n/f3=>n/f1 n/f2=three"},
		{copyOf("/n/", "a", "b", "c"), "n/ n/f3=one n/f1=two n/f2=three"},
		{copyOf("/n/", "a/f1", "a/f2", "b/f1"), "n/ n/f2=one n/f1=two"},
	} {
		c.spec.From = place.Context(dir, nil)
		newWorld(t, build.Options{}).check(t, debian, c)
	}
}
