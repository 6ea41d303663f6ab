// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/oci"
)

// An other is what takes the place of a stage or an image: a directory, or
// another image.
type other struct {
	name   string
	dir    string
	source place.Source // of dir
	image  string
}

// others finds the contexts that were given names.
func (p *plan) others(ctx context.Context) (err error) {
	p.other = map[string]*other{}
	for _, name := range slices.Sorted(maps.Keys(p.o.Contexts)) {
		x, value := &other{name: name}, p.o.Contexts[name]
		image, isImage := strings.CutPrefix(value, "docker-image://")
		layout, isLayout := strings.CutPrefix(value, "oci-layout://")
		if !isLayout { // as references are written elsewhere
			layout, isLayout = strings.CutPrefix(value, "oci:")
		}
		switch {
		case isImage:
			x.image = image
		case isLayout:
			x.image = "oci:" + layout
		default:
			var text []byte
			x.dir, text, err = p.directory(ctx, value)
			if err == nil && text != nil {
				err = oci.Errorf(oci.ErrInvalid, "it is no tar")
			}
			if err == nil {
				err = x.open()
			}
			if err != nil {
				return oci.Wrap("build context", name, err)
			}
		}
		p.other[familiar(name)] = x
	}
	return nil
}

// open finds the files of a directory, without what its own .dockerignore leaves
// out.
func (x *other) open() error {
	info, err := os.Stat(x.dir)
	if err == nil && !info.IsDir() {
		err = oci.Errorf(oci.ErrInvalid, "%s is no directory", oci.Quote(x.dir))
	}
	if err != nil {
		return err
	}
	var list []string
	f, err := os.OpenInRoot(x.dir, ".dockerignore")
	if err == nil {
		list, err = patterns(f)
		err = oci.Wrap("", ".dockerignore", err)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x.source = place.Context(x.dir, list)
	return nil
}

// familiar is the shortest name of an image as Docker reads it, or of a stage.
func familiar(name string) string {
	name = strings.ToLower(name)
	name = strings.TrimPrefix(name, "docker.io/")
	name = strings.TrimPrefix(name, "library/")
	return strings.TrimSuffix(name, ":latest")
}
