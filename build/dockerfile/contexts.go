// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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

// others are the contexts that were given names.
func (o Options) others() (map[string]*other, error) {
	all := map[string]*other{}
	for name, value := range o.Contexts {
		x := &other{name: name}
		image, isImage := strings.CutPrefix(value, "docker-image://")
		layout, isLayout := strings.CutPrefix(value, "oci-layout://")
		switch {
		case isImage:
			x.image = image
		case isLayout:
			x.image = "oci:" + layout
		default:
			x.dir = value
			if err := x.open(); err != nil {
				return nil, err
			}
		}
		all[familiar(name)] = x
	}
	return all, nil
}

// open finds the files of a directory, without what its own .dockerignore leaves
// out.
func (x *other) open() error {
	info, err := os.Stat(x.dir)
	if err == nil && !info.IsDir() {
		err = oci.Errorf(oci.ErrInvalid, "%s is no directory", oci.Quote(x.dir))
	}
	if err != nil {
		return oci.Wrap("build context", x.name, err)
	}
	patterns, err := readIgnore(filepath.Join(x.dir, ".dockerignore"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x.source = place.Context(x.dir, patterns)
	return nil
}

// familiar is the shortest name of an image as Docker reads it, or of a stage.
func familiar(name string) string {
	name = strings.ToLower(name)
	name = strings.TrimPrefix(name, "docker.io/")
	name = strings.TrimPrefix(name, "library/")
	return strings.TrimSuffix(name, ":latest")
}
