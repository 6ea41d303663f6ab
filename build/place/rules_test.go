// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
)

// users is a base with names for --chown.
const users = "etc/ etc/passwd=root:x:0:0::/:~app:x:100:200::/:~odd:x:y:z~#:x:1:1 etc/group=root:x:0:~staff:x:50: srv/ 700,7,8:srv/d/ opt/ link->opt"

func TestOwnersAndModes(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a=A 755:x=X 750:d/ d/f=F 700:d/s/ d/l->f 711:d/s/g=G 664:w=W h/one=1 h/two=>h/one")
	with := func(s place.Spec, chown, chmod string) place.Spec {
		s.Chown, s.Chmod = chown, chmod
		return s
	}
	for _, c := range []copyCase{
		{with(copyOf("/n/", "a"), "app", ""), "755,100,200:n/ 644,100,200:n/a=A"},
		{with(copyOf("/n/", "a"), "app:staff", ""), "755,100,50:n/ 644,100,50:n/a=A"},
		{with(copyOf("/n/m/a", "a"), "5", ""), "755,5,5:n/ 755,5,5:n/m/ 644,5,5:n/m/a=A"},
		{with(copyOf("/n/", "a"), "5:staff", ""), "755,5,50:n/ 644,5,50:n/a=A"},
		{with(copyOf("/n/", "a"), "app:9", ""), "755,100,9:n/ 644,100,9:n/a=A"},
		{with(copyOf("/srv", "d"), "3:4", ""), "644,3,4:srv/f=F srv/l->f 700,3,4:srv/s/ 711,3,4:srv/s/g=G"}, // srv stays
		{with(copyOf("/srv/d", "a"), "", ""), "700,7,8:srv/d/ srv/d/a=A"},
		{copyOf("/w", "w"), "664,0,0:w=W"},
		{with(copyOf("/n/", "a"), "nobody", ""), "! \"nobody\" is not in the image's /etc/passwd"},
		{with(copyOf("/n/", "a"), "app:nobody", ""), "! \"nobody\" is not in the image's /etc/group"},
		{with(copyOf("/n/", "a"), "odd", ""), "! /etc/passwd has no number for \"odd\""},
		{with(copyOf("/n/", "a"), ":5", ""), "! want USER or USER:GROUP"},
		{with(copyOf("/n/", "a"), "5:", ""), "! want USER or USER:GROUP"},
		{with(copyOf("/n/", "a"), "4294967295", ""), "! is not in the image's"},
		// A directory that is made for files stays usable, whatever their mode is.
		{with(copyOf("/n/", "a"), "", "600"), "n/ 600,0,0:n/a=A"},
		{with(copyOf("/n", "d"), "", "0711"), "711,0,0:n/ 711,0,0:n/f=F n/l->f 711,0,0:n/s/ 711,0,0:n/s/g=G"},
		{with(copyOf("/n", "d"), "", "u=rwX,go=rX"), "n/ n/f=F n/l->f n/s/ 755,0,0:n/s/g=G"},
		{with(copyOf("/n", "a"), "", "+x"), "755,0,0:n=A"},
		{with(copyOf("/n", "x"), "", "a-x,u+s"), "4644,0,0:n=X"},
		{with(copyOf("/n", "h"), "3:4", "u=rwX,go="), "755,3,4:n/ 600,3,4:n/one=1 600,3,4:n/two=>n/one"},
		{with(copyOf("/n", "a"), "", "999"), "! --chmod: mode \"999\""},
		{with(copyOf("/n", "a"), "", "rw"), "! --chmod: mode \"rw\""},
	} {
		c.spec.From = place.Context(dir, nil)
		newWorld(t, build.Options{CacheDir: t.TempDir()}).check(t, users, c)
	}
	none := copyCase{with(copyOf("/n", "a"), "app", ""), "! there is no /etc/passwd to look up \"app\" in"}
	none.spec.From = place.Context(dir, nil)
	newWorld(t, build.Options{}).check(t, "bin/", none)
}

func TestLinked(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a=A d/f=F")
	for _, c := range []copyCase{
		{copyOf("/link/a", "a"), "link/a=A"},
		{copyOf("/srv", "a"), "srv=A"},
		{copyOf("/srv/d/", "a"), "srv/d/a=A"},
		{copyOf("/srv/d/", "d"), "srv/d/ srv/d/f=F"},
	} {
		c.spec.From, c.spec.Link = place.Context(dir, nil), true
		x := newWorld(t, build.Options{})
		onto, blobs := x.stack(t, "linux/amd64", users)
		if got, err := x.add(t, onto, c.spec); got != c.want || err != nil || blobs[0].opens.Load() > 0 {
			t.Errorf("%v: got %s, %v, want %s; the base was read %d times", c.spec, got, err, c.want, blobs[0].opens.Load())
		}
	}
}

func TestParentsAndExclude(t *testing.T) {
	t.Parallel()
	dir := folder(t, "x/a.txt=1 x/b.md=2 711:x/y/ x/y/c.txt=3 x/y/z/d.txt=4 e/ hom1.txt=5 hom2.go=6 homdir/in.txt=7 homdir/in.go=8 homdir/deep/in.txt=9 link->x")
	parents := func(dest string, list ...string) place.Spec {
		return place.Spec{Sources: list, Dest: dest, Parents: true}
	}
	without := func(s place.Spec, list ...string) place.Spec {
		s.Exclude = list
		return s
	}
	for _, c := range []copyCase{
		{parents("/p/", "./x/a.txt", "x/y/c.txt"), "p/ p/x/ p/x/a.txt=1 711,0,0:p/x/y/ p/x/y/c.txt=3"},
		{parents("/p/", "./x/./y/*.txt"), "p/ 711,0,0:p/y/ p/y/c.txt=3"},
		{parents("/p/", "x/**/*.txt"), "p/ p/x/ p/x/a.txt=1 711,0,0:p/x/y/ p/x/y/c.txt=3 p/x/y/z/ p/x/y/z/d.txt=4"},
		{parents("/p/", "**/z"), "p/ p/x/ 711,0,0:p/x/y/ p/x/y/z/ p/x/y/z/d.txt=4"},
		{parents("/p/", "/x/./y"), "p/ 711,0,0:p/y/ p/y/c.txt=3 p/y/z/ p/y/z/d.txt=4"},
		{parents("/p/", "e"), "p/ p/e/"},
		{parents("/p/", "link"), "p/ p/link->x"},
		{parents("/p/", "link/./a.txt"), "p/ p/a.txt=1"},
		{parents("/p/", "none/*"), "p/"},
		{parents("/p/", "none"), "! not found"},
		{parents("/p/", "link/a.txt"), "! --parents does not follow links"},
		{parents("/p/", "x*/./a"), "! no wildcard before /./"},
		{parents("/p/", "x/../../y"), "! leads out"},
		{without(parents("/p/", "x"), "**/*.txt"), "p/ p/x/ p/x/b.md=2 711,0,0:p/x/y/ p/x/y/z/"},
		{without(copyOf("/p/", "hom*"), "*.txt"), "p/ p/hom2.go=6 p/deep/ p/deep/in.txt=9 p/in.go=8"},
		{without(copyOf("/p/", "hom*"), "**/*.txt", "homdir"), "p/ p/hom2.go=6"},
		{without(copyOf("/p/", "x"), "y", "!y/z"), "p/ p/a.txt=1 p/b.md=2 711,0,0:p/y/ p/y/z/ p/y/z/d.txt=4"},
		{without(copyOf("/p/", "x"), "*"), "p/"},
		{without(copyOf("/p/", "hom1.txt"), "*.txt"), "none"},
		{without(copyOf("/p/", "x"), "["), "! pattern \"[\""},
	} {
		c.spec.From = place.Context(dir, nil)
		newWorld(t, build.Options{}).check(t, users, c)
	}
}

func TestIgnore(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.log=1 keep.log=2 node_modules/x/a=3 node_modules/keep/b=4 src/a.go=5 src/a.log=6 src/gen/c.go=7 only/a.log=8 l->a.log lk->keep.log .git/config=9")
	ignore := []string{"**/*.log", "!keep.log", "node_modules", "!node_modules/keep", "src/gen", ".git", "only/*"}
	for _, c := range []copyCase{
		{copyOf("/n/", "."), "n/ n/keep.log=2 n/l->a.log n/lk->keep.log n/node_modules/ n/node_modules/keep/ n/node_modules/keep/b=4 n/only/ n/src/ n/src/a.go=5"},
		{copyOf("/n/", "*.log"), "n/ n/keep.log=2"},
		{copyOf("/n/", "src"), "n/ n/a.go=5"},
		{copyOf("/n/", "node_modules"), "n/ n/keep/ n/keep/b=4"},
		{copyOf("/n/", "node_modules/*"), "n/ n/b=4"},
		{copyOf("/n", "lk"), "n=2"},
		{copyOf("/n", "l"), "! \"l\": not found in the context: .dockerignore leaves it out"},
		{copyOf("/n", "a.log"), "! \"a.log\": not found in the context: .dockerignore leaves it out"},
		{copyOf("/n/", "src/gen"), "! .dockerignore leaves it out"},
		{copyOf("/n/", "node_modules/x"), "! .dockerignore leaves it out"},
		{copyOf("/n/", ".git/*"), "none"},
	} {
		c.spec.From = place.Context(dir, ignore)
		newWorld(t, build.Options{}).check(t, users, c)
	}
	c := copyCase{copyOf("/n", "src"), "! .dockerignore: pattern \"[\""}
	c.spec.From = place.Context(dir, []string{"a", "["})
	newWorld(t, build.Options{}).check(t, users, c)
}
