// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// The members of a layout directory.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	blobsDir   = "blobs"
	ingestDir  = "ingest" // blobs that are not whole yet
	lockFile   = ".lock"

	layoutContent = `{"imageLayoutVersion":"1.0.0"}`
	emptyIndex    = `{"schemaVersion":2,"mediaType":"` + oci.MediaIndex + `","manifests":[]}`
)

// A place is a directory that is found again for every operation: base as it
// is, then rel below it without ever leaving base through a link.
type place struct {
	base string // absolute
	rel  string // slash-separated, or empty
}

func (p place) String() string { return filepath.Join(p.base, filepath.FromSlash(p.rel)) }

func (p place) open() (*os.Root, error) {
	base, err := os.OpenRoot(p.base)
	if err != nil || p.rel == "" {
		return base, err
	}
	defer base.Close()
	return base.OpenRoot(filepath.FromSlash(p.rel))
}

// explain tells why the directory cannot be opened.
func (p place) explain(err error) error {
	if fi, serr := os.Stat(p.String()); serr == nil && !fi.IsDir() {
		return oci.Errorf(oci.ErrInvalid, "%s is not a directory", p)
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Path == p.String() { // it says all
		return err
	}
	return oci.Wrap("open", p.String(), err)
}

// make makes the directory and its parents.
func (p place) make() error {
	if err := os.MkdirAll(p.base, 0o755); err != nil || p.rel == "" {
		return err
	}
	base, err := os.OpenRoot(p.base)
	if err != nil {
		return err
	}
	defer base.Close()
	return base.MkdirAll(filepath.FromSlash(p.rel), 0o755)
}

// creatable reports whether a layout may be made here: nothing is there, or a
// directory with nothing of others in it. A layout within a tree may have
// other repositories below it.
func (p place) creatable() error {
	root, err := p.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return p.explain(err)
	}
	defer root.Close()
	if _, err := root.Lstat(layoutFile); err == nil {
		return nil
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return oci.Wrap("read", p.String(), err)
	}
	for _, e := range entries {
		ours := e.Name() == lockFile || e.Name() == ingestDir || p.rel != "" && e.IsDir() && e.Name() != blobsDir
		if e.Name() == indexFile { // made by one that was killed before it was done
			b, err := disk.ReadFile(root, indexFile, int64(len(emptyIndex)))
			ours = err == nil && string(b) == emptyIndex
		}
		if _, err := root.Lstat(layoutFile); err == nil { // made while we looked
			return nil
		}
		if !ours {
			return oci.Errorf(oci.ErrInvalid, "%s is not a layout: it has no file %s, but holds %s", p, layoutFile, oci.Quote(e.Name()))
		}
	}
	return nil
}

// checkLayoutFile checks the version of a layout. ErrNotFound if there is none
// but one could be made, ErrInvalid if something else is there.
func checkLayoutFile(root *os.Root) error {
	raw, err := disk.ReadFile(root, layoutFile, 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		if err := missingLayoutFile(root); err != nil {
			return err
		}
		raw, err = disk.ReadFile(root, layoutFile, 64<<10)
	}
	if err != nil {
		return err
	}
	if err := oci.CheckJSON(raw, "imageLayoutVersion"); err != nil {
		return oci.Errorf(oci.ErrCorrupt, "%s: %w", layoutFile, err)
	}
	var v struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || v.Version == "" {
		return oci.Errorf(oci.ErrCorrupt, "%s has no imageLayoutVersion", layoutFile)
	}
	if !strings.HasPrefix(v.Version, "1.") {
		return oci.Errorf(oci.ErrUnsupported, "layout has version %s, want 1.x", oci.Quote(v.Version))
	}
	return nil
}

// missingLayoutFile tells what is there instead; nil if the file has just been
// made. Our own layouts have it before they have blobs.
func missingLayoutFile(root *os.Root) error {
	_, blobs := root.Lstat(blobsDir)
	if _, err := root.Lstat(layoutFile); err == nil {
		return nil
	}
	if blobs == nil {
		return oci.Errorf(oci.ErrInvalid, "not a layout: %s is there, but not the file %s", blobsDir, layoutFile)
	}
	return oci.Errorf(oci.ErrNotFound, "no layout: the file %s is missing", layoutFile)
}
