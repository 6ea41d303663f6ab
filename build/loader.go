// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A libc is a C library that programs are linked with, and bases that have it.
type libc struct{ name, mark, bases string }

var libcs = []libc{
	{"musl", "ld-musl-", "alpine:3"},
	{"glibc", "ld-linux", "gcr.io/distroless/cc-debian12 or debian:12-slim"},
	{"glibc", "ld64.so", "debian:12-slim"},
	{"glibc", "ld.so", "debian:12-slim"},
}

func libcOf(loader string) libc {
	n := slices.IndexFunc(libcs, func(c libc) bool { return strings.Contains(path.Base(loader), c.mark) })
	if n < 0 {
		return libc{}
	}
	return libcs[n]
}

// HasLoader reports whether what loads a program, its interpreter, is among the
// files of a stack.
func HasLoader(tree *layer.Tree, loader string) bool {
	_, n, err := tree.Follow(strings.TrimPrefix(path.Clean("/"+loader), "/"))
	return err == nil && n.Kind == layer.File
}

// CheckLoader is ErrInvalid, with advice, if the stack's files lack what loads a
// program: the kernel would say that there is no such program.
func (s *Stack) CheckLoader(tree *layer.Tree, program, loader string) error {
	if HasLoader(tree, loader) {
		return nil
	}
	want := libcOf(loader)
	base, advice := cmp.Or(s.Base.Name, "the base"), ""
	if want.name != "" {
		advice = ": link it statically, or name a base with " + want.name + ", as --from " + want.bases
	}
	for at := range tree.All(".") {
		if have := libcOf(at); have.name != "" && have.name != want.name && want.name != "" && strings.HasPrefix(path.Base(at), have.mark) {
			advice = " (it has " + have.name + ", and the program is made for " + want.name + ")" + advice
			break
		}
	}
	return oci.Errorf(oci.ErrInvalid, "%s needs %s to start, which %s lacks%s", program, oci.Quote(loader), base, advice)
}
