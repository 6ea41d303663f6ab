// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
)

// stage is an image of several layers: links, whiteouts, hard links, owners.
var stage = []string{
	"usr/ usr/bin/ usr/bin/sh=shell bin->usr/bin 755,3,4:app/ 644,5,6:app/a=A app/gone=G lib->/usr/lib etc/ etc/conf=old usr/lib/ usr/lib/c=C fifo|",
	"app/.wh.gone= app/b=B app/c=>app/b 2750,1,1:app/d/ app/d/x=X@attr app/l->/etc/conf out->../../../etc loop->loop",
	"etc/conf=new other=O",
}

func TestCopyOfStack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		copyCase
		read string // the layers that were read for the files
	}{
		{copyCase{copyOf("/n", "/app/a"), "644,5,6:n=A!"}, "0"},
		{copyCase{copyOf("/n/", "/app"), "n/ 2750,1,1:n/d/! n/l->/etc/conf! 644,5,6:n/a=A! n/b=B! n/c=>n/b! n/d/x=X@attr!"}, "01"},
		{copyCase{copyOf("/n/", "app/d/x"), "n/ n/x=X@attr!"}, "1"},
		{copyCase{copyOf("/n", "bin/sh"), "n=shell!"}, "0"},
		{copyCase{copyOf("/n/", "/bin"), "n/ n/sh=shell!"}, "0"},
		{copyCase{copyOf("/n/", "/lib/*"), "n/ n/c=C!"}, "0"},
		{copyCase{copyOf("/n", "/out/conf"), "n=new!"}, "2"},
		{copyCase{copyOf("/n", "/app/l"), "n=new!"}, "2"},
		{copyCase{copyOf("/n", "fifo"), "n|!"}, ""},
		{copyCase{copyOf("/n/", "/app/?", "/etc/conf"), "n/ 644,5,6:n/a=A! n/b=B! n/c=>n/b! n/x=X@attr! n/l=new! n/conf=>n/l!"}, "012"},
		{copyCase{copyOf("/n/", "/etc", "/app/a", "/app/b"), "n/ 644,5,6:n/a=A! n/b=B! n/conf=new!"}, "012"},
		{copyCase{place.Spec{Sources: []string{"/app/./d/**"}, Dest: "/n/", Parents: true}, "n/ 2750,1,1:n/d/! n/d/x=X@attr!"}, "1"},
		{copyCase{place.Spec{Sources: []string{"/app"}, Dest: "/n/", Exclude: []string{"d", "a", "!d/x"}},
			"n/ 2750,1,1:n/d/! n/l->/etc/conf! n/b=B! n/c=>n/b! n/d/x=X@attr!"}, "1"},
		{copyCase{place.Spec{Sources: []string{"/app/d"}, Dest: "/n/", Chown: "9", Chmod: "a+x"}, "755,9,9:n/ 755,9,9:n/x=X@attr!"}, "1"},
		{copyCase{copyOf("/n/", "/app/none*"), "none"}, ""},
		{copyCase{copyOf("/n", "/app/gone"), "! not found in the image"}, ""},
		{copyCase{copyOf("/n", "/loop"), "! links"}, ""},
		{copyCase{copyOf("/n", "../app/a"), "! leads out"}, ""},
		{copyCase{copyOf("/n", "/app/a", "/app/b"), "! ends with a slash"}, ""},
		{copyCase{copyOf("/etc/real", "/app"), "! is a file in the base"}, ""},
		{copyCase{copyOf("/srv/", "/app/d", "/app/d/x"), "srv/x=X@attr!"}, "1"},
	} {
		x := newWorld(t, build.Options{CacheDir: t.TempDir()})
		from, blobs := x.stack(t, "linux/amd64", stage...)
		if _, err := from.Tree(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			b.opens.Store(0)
		}
		c.spec.From = place.Stack(from)
		x.check(t, debian, c.copyCase)
		read := ""
		for n, b := range blobs {
			read += strings.Repeat(string(rune('0'+n)), int(b.opens.Load()))
		}
		if read != c.read {
			t.Errorf("%q: read the layers %q, want %q", c.spec.Sources, read, c.read)
		}
	}
}

// The whole of one image on another: what both have is as in the first.
func TestCopyOfRoot(t *testing.T) {
	t.Parallel()
	x := newWorld(t, build.Options{})
	from, _ := x.stack(t, "linux/amd64", "700:tmp/ tmp/x=1 bin/ bin/new=2 etc/ 600:etc/real=3")
	onto, _ := x.stack(t, "linux/amd64", debian)
	s := copyOf("/", ".")
	s.From = place.Stack(from)
	got, err := x.add(t, onto, s)
	if want := "usr/bin/! etc/! 700,0,0:tmp/! tmp/x=1! usr/bin/new=2! 600,0,0:etc/real=3!"; got != want || err != nil {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

// Equal inputs are read and packed once, and not again by another process.
func TestShared(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	dir := folder(t, "a=A")
	run := func() (reads int32, opens int32) {
		x := newWorld(t, build.Options{CacheDir: cache})
		from, blobs := x.stack(t, "linux/amd64", stage...)
		ctx := place.Context(dir, nil)
		for _, p := range []string{"linux/amd64", "linux/arm64", "linux/s390x"} {
			onto, _ := x.stack(t, p, users+" p="+p[6:])
			for _, s := range []place.Spec{{Sources: []string{"a"}, Dest: "/n/", From: ctx}, {Sources: []string{"/app"}, Dest: "/m/", From: place.Stack(from), Chown: "app"}} {
				if _, err := x.add(t, onto, s); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, b := range blobs {
			opens += b.opens.Load()
		}
		return x.begun.Load(), opens
	}
	if reads, _ := run(); reads != 2 {
		t.Errorf("%d readings, want 2", reads)
	}
	// list opens layers that are only remembered, which makes them again.
	if reads, opens := run(); reads != 2 || opens != 2 {
		t.Errorf("again: %d readings, %d layers opened", reads, opens)
	}
}
