// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func TestCollide(t *testing.T) {
	t.Parallel()
	with := func(r rec, change func(*rec)) rec {
		change(&r)
		return r
	}
	before := []rec{dir("etc"), file("etc/same", "1"), file("etc/other", "1"), file("etc/mode", "1"), file("etc/time", "1"), file("etc/old", "1"), dir("lib"), file("lib/x", "1"),
		symlink("l", "etc"), dir("tree"), file("tree/a", "1"), file("kind", ""), hardlink("etc/hard", "etc/other"), dir("bin")}
	after := [][]rec{{dir("etc"), file("etc/same", "1"), file("etc/other", "2"), with(file("etc/mode", "1"), func(r *rec) { r.Mode = 0o600 }),
		with(file("etc/time", "1"), func(r *rec) { r.ModTime = epoch.Add(time.Hour) }), file("etc/new", "1"), symlink("lib", "usr/lib"), file("usr/lib/x", "2"),
		symlink("l", "usr"), dir("tree"), file("tree/a", "1"), dir("kind"), hardlink("etc/hard", "etc/other"), dir("bin")}}
	for name, test := range map[string]struct {
		app  [][]rec
		want string
	}{
		"nothing":            {nil, ""},
		"beside":             {[][]rec{{dir("app"), file("app/x", "")}}, ""},
		"root":               {[][]rec{{dir(".")}}, ""},
		"the same":           {[][]rec{{dir("etc"), file("etc/same", "app")}}, ""},
		"times":              {[][]rec{{file("etc/time", "app")}}, ""},
		"other":              {[][]rec{{file("etc/other", "app")}}, "changed etc/other"},
		"other, hard":        {[][]rec{{file("etc/hard", "app")}}, "changed etc/hard"},
		"mode":               {[][]rec{{file("etc/mode", "app")}}, "changed etc/mode"},
		"gone":               {[][]rec{{file("etc/old", "app")}}, "changed etc/old"},
		"come":               {[][]rec{{file("etc/new", "app")}}, "changed etc/new"},
		"as the new":         {[][]rec{{file("etc/other", "2")}}, ""},
		"highest counts":     {[][]rec{{file("etc/other", "app")}, {file("etc/other", "2")}}, ""},
		"twice":              {[][]rec{{file("etc/other", "app")}, {file("etc/other", "app2")}}, "changed etc/other"},
		"directory on link":  {[][]rec{{dir("lib"), file("app", "")}}, "changed lib"},
		"through a link":     {[][]rec{{file("lib/x", "app")}}, "changed lib/x"},
		"link":               {[][]rec{{symlink("l", "app")}}, "changed l"},
		"kind":               {[][]rec{{file("kind", "app")}}, "changed kind"},
		"kind, directory":    {[][]rec{{dir("kind")}}, "changed kind"},
		"hard link":          {[][]rec{{file("app", ""), hardlink("etc/other", "app")}}, "changed etc/other"},
		"file on directory":  {[][]rec{{file("bin", "")}}, ""},
		"whiteout":           {[][]rec{{file("etc/.wh.same", ""), file("etc/.wh.nothing", "")}}, "whiteouts etc/same"},
		"whiteout of a tree": {[][]rec{{file(".wh.tree", "")}}, "whiteouts tree"},
		"whiteout of new":    {[][]rec{{file("etc/.wh.new", "")}}, "whiteouts etc/new"},
		"whiteout of own":    {[][]rec{{file("app/x", "")}, {file("app/.wh.x", "")}}, ""},
		"opaque":             {[][]rec{{file("tree/.wh..wh..opq", ""), file("bin/.wh..wh..opq", ""), file("app/.wh..wh..opq", "")}}, "whiteouts tree/"},
		"dpkg":               {[][]rec{{dir("var/lib/dpkg"), file("var/lib/dpkg/status", ""), file("var/lib/dpkg/info/a.list", "")}}, "packages var/lib/dpkg/status var/lib/dpkg/info/a.list"},
		"apk":                {[][]rec{{file("lib/apk/db/installed", ""), file("usr/lib/apk/db/installed", "")}}, "packages lib/apk/db/installed usr/lib/apk/db/installed"},
		"rpm":                {[][]rec{{file("var/lib/rpm/Packages", ""), file("usr/lib/sysimage/rpm/rpmdb.sqlite", "")}}, "packages var/lib/rpm/Packages usr/lib/sysimage/rpm/rpmdb.sqlite"},
		"removed database":   {[][]rec{{file("var/lib/dpkg/.wh.status", "")}}, "packages var/lib/dpkg/status"},
		"not a database":     {[][]rec{{file("var/lib/dpkg-other", ""), file("srv/var/lib/dpkg/status", "")}}, ""},
		"hives":              {[][]rec{{dir("Files"), dir("Hives"), file("Hives/Software_Delta", "")}}, "hives Hives/Software_Delta"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := layer.Collide(outlines(t, before), outlines(t, after...), outlines(t, test.app...), layer.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range []struct {
				name string
				p    layer.Paths
			}{{"changed", c.Changed}, {"packages", c.Packages}, {"hives", c.Hives}, {"whiteouts", c.Whiteouts}} {
				if k.p.Count != len(k.p.First) {
					t.Errorf("%d %v", k.p.Count, k.p.First)
				}
				if k.p.Count > 0 {
					got = append(got, k.name+" "+strings.Join(k.p.First, " "))
				}
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("got %s, want %s", strings.Join(got, "; "), test.want)
			}
		})
	}
}

// The lists are short, the counts are right, and a base that stays collides
// with nothing but what is always told.
func TestCollideMany(t *testing.T) {
	t.Parallel()
	var before, after, app []rec
	for i := range 250 {
		name := fmt.Sprintf("f%03d", i)
		before, after, app = append(before, file(name, "1")), append(after, file(name, "2")), append(app, file(name, "3"))
	}
	c, err := layer.Collide(outlines(t, before), outlines(t, after), outlines(t, app), layer.Limits{})
	if err != nil || c.Changed.Count != 250 || len(c.Changed.First) != 100 || !slices.IsSorted(c.Changed.First) {
		t.Errorf("got %d of %d, %v", len(c.Changed.First), c.Changed.Count, err)
	}
	if c, err := layer.Collide(outlines(t, before), outlines(t, before), outlines(t, app), layer.Limits{}); err != nil || c.Changed.Count != 0 {
		t.Errorf("got %v %v", c.Changed, err)
	}
	if _, err := layer.Collide(outlines(t, []rec{symlink("a", "a")}), nil, outlines(t, []rec{file("a/x", "")}), layer.Limits{}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("a link to itself: %v", err)
	}
	if _, err := layer.Collide(nil, outlines(t, before), nil, layer.Limits{Entries: 10}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("too many entries: %v", err)
	}
}
