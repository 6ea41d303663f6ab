// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"path"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// maxPath is the longest path that Linux can open.
const maxPath = 4096

// cleanName brings the name of an entry into the form of Entry.Name. A slash at
// the start means the image's root, as in old images.
func cleanName(s string) (string, error) {
	name := strings.TrimLeft(s, "/")
	if name == "" && s != "" {
		name = "."
	}
	if name != "" && !isClean(name) {
		name = path.Clean(name)
	}
	switch {
	case name == "" || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "\x00"):
		return "", oci.Errorf(oci.ErrInvalid, "unsafe path %s", oci.Quote(s))
	case len(name) > maxPath:
		return "", oci.Errorf(oci.ErrInvalid, "path %s has more than %d bytes", oci.Quote(s), maxPath)
	}
	return name, nil
}

// isClean says quickly of most names that path.Clean would not change them.
func isClean(s string) bool {
	return s[0] != '.' && s[len(s)-1] != '/' && s[len(s)-1] != '.' && !strings.Contains(s, "//") && !strings.Contains(s, "/.")
}

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // of files that only aufs itself understands
)

// whiteout turns an entry that is named so into a Whiteout or an Opaque
// (image-spec, layer.md, "Whiteouts"), whatever its type. skip: it is one of
// aufs's own files.
func (e *Entry) whiteout() (skip bool, err error) {
	if !strings.Contains(e.Name, whiteoutPrefix) {
		return false, nil
	}
	dir, base := path.Split(e.Name)
	for c := range strings.SplitSeq(dir, "/") {
		switch {
		case strings.HasPrefix(c, aufsPrefix):
			return true, nil
		case strings.HasPrefix(c, whiteoutPrefix):
			return false, oci.Errorf(oci.ErrInvalid, "unsafe path %s: nothing can be below a whiteout", oci.Quote(e.Name))
		}
	}
	hides, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok:
		return false, nil
	case base == opaqueMarker:
		e.Kind, e.Name = Opaque, path.Clean(dir)
	case strings.HasPrefix(base, aufsPrefix):
		return true, nil
	case hides == "" || hides == "." || hides == "..":
		return false, oci.Errorf(oci.ErrInvalid, "unsafe path %s: a whiteout of nothing", oci.Quote(e.Name))
	default:
		e.Kind, e.Name = Whiteout, dir+hides
	}
	e.Link, e.Size = "", 0
	return false, nil
}
