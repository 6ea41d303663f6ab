// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/oci"
)

// What loads a program that is not linked statically has to be there, or to come
// with it.
func TestLoader(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app+"-- ld/ld-linux-x86-64.so.2 --\nx\n")
	w.name("busybox", w.image("linux/amd64", nil, "lib64/"))
	o := golang.Options{Flags: []string{"-buildmode=pie"}}
	for _, base := range []string{build.Static, "busybox"} {
		_, _, err := w.build(dir, []string{"./cmd/app"}, o, build.Want{From: []string{base}, Platforms: platforms(t, "linux/amd64")})
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), `example.com/m/cmd/app needs "/lib64/ld-linux-x86-64.so.2" to start, which `+base+" lacks: link it statically") {
			t.Errorf("on %s: %v", base, err)
		}
	}
	o.Files = []golang.File{{From: "ld", To: "/lib64"}}
	w.must(dir, []string{"./cmd/app"}, o, build.Want{From: []string{"busybox"}, Platforms: platforms(t, "linux/amd64")})
}

// A cache that cannot be written is as none.
func TestNoCache(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	want, _ := w.must(dir, []string{"./cmd/app"}, golang.Options{}, build.Want{})
	w.cache = filepath.Join(dir, "go.mod") // a file
	got, _ := w.must(dir, []string{"./cmd/app"}, golang.Options{}, build.Want{})
	if a, b := layers(want.Stacks[0])[0].Descriptor(), layers(got.Stacks[0])[0].Descriptor(); a.Digest != b.Digest {
		t.Errorf("%s with a cache, %s without", a.Digest, b.Digest)
	}
}

// Above the modules of a workspace go says why nothing is found.
func TestWorkspace(t *testing.T) {
	t.Parallel()
	dir := module(t, "-- go.work --\ngo 1.26\nuse ./app\n-- app/go.mod --\nmodule example.com/m\n\ngo 1.26\n-- app/main.go --\npackage main\n\nfunc main() {}\n")
	_, err := golang.Find(t.Context(), []string{"./..."}, platforms(t, "linux/amd64")[0], golang.Options{Dir: dir, Env: quiet})
	if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), `"./...": there are no programs: `) || !strings.Contains(err.Error(), "go.work") {
		t.Errorf("%v", err)
	}
}
