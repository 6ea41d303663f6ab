// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"errors"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// What COPY of a Dockerfile asks for: see RewriteOptions.
func TestRewriteAsCopy(t *testing.T) {
	t.Parallel()
	g := groundOf(append(debian, symlink("etc/alias", "real"), symlink("etc/dangling", "none"))...)
	for name, c := range map[string]struct {
		o    layer.RewriteOptions
		recs []rec
		want string // "!": ErrInvalid
	}{
		"a directory stays":            {layer.RewriteOptions{}, []rec{dir("etc"), file("etc/x", "")}, "etc/x"},
		"one below Over changes":       {layer.RewriteOptions{Over: "."}, []rec{dir("etc"), file("etc/x", "")}, "etc/ etc/x"},
		"through a link":               {layer.RewriteOptions{Over: "."}, []rec{dir("bin"), file("bin/x", "")}, "usr/bin/ usr/bin/x"},
		"Over itself stays":            {layer.RewriteOptions{Over: "usr"}, []rec{dir("usr"), dir("usr/bin"), dir("etc")}, "usr/bin/"},
		"what only begins like Over":   {layer.RewriteOptions{Over: "usr"}, []rec{dir("us"), dir("usr2")}, "us/ usr2/"},
		"the root stays":               {layer.RewriteOptions{Over: "."}, []rec{dir("./")}, ""},
		"a file takes a directory":     {layer.RewriteOptions{}, []rec{file("etc", "")}, "etc"},
		"Meek does not":                {layer.RewriteOptions{Meek: true}, []rec{file("etc", "")}, "!"},
		"nor one of the tar":           {layer.RewriteOptions{Meek: true}, []rec{dir("n"), file("n", "")}, "!"},
		"Meek takes a link":            {layer.RewriteOptions{Meek: true}, []rec{file("bin", "")}, "bin"},
		"a file takes a link":          {layer.RewriteOptions{}, []rec{file("etc/alias", "")}, "etc/alias"},
		"Follow goes where it leads":   {layer.RewriteOptions{Follow: true, Meek: true}, []rec{file("etc/alias", "")}, "etc/real"},
		"also if there is nothing":     {layer.RewriteOptions{Follow: true, Meek: true}, []rec{file("etc/dangling", "")}, "etc/none"},
		"Follow and Into":              {layer.RewriteOptions{Follow: true, Into: "x"}, []rec{file("bin", "")}, "usr/bin/x"},
		"Follow without a directory":   {layer.RewriteOptions{Follow: true, Into: "x"}, []rec{file("n", "")}, "n"},
		"a way to it is made":          {layer.RewriteOptions{Follow: true}, []rec{file("opt/a/b", "")}, "data/ data/opt/ data/opt/a/ data/opt/a/b"},
		"Windows asks nobody":          {layer.RewriteOptions{Windows: true, Follow: true, Over: ".", Meek: true}, []rec{file("etc", "")}, "Files/ Hives/ Files/etc"},
		"Follow does not leave circle": {layer.RewriteOptions{Follow: true}, []rec{file("loop", "")}, "!"},
	} {
		c.o.Ground = g
		got, err := rewritten(t, c.o, c.recs...)
		if c.want == "!" {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}
