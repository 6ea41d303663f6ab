// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"os"
	"path/filepath"

	"github.com/dray-tools/dray/oci"
)

// follow resolves symbolic links, to a target that need not exist, so that a
// link into a folder of dotfiles stays a link.
func follow(path string) (string, error) {
	start := path
	for range 40 {
		info, err := os.Lstat(path)
		if os.IsNotExist(err) {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode()&os.ModeSymlink == 0 {
			return path, nil
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			// the folder may be a link itself, from which .. leads elsewhere
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return "", oci.Errorf(oci.ErrInvalid, "%s is a link that leads in a circle", start)
}

// replace writes a file as a whole or not at all, with mode 0600.
func replace(path string, raw []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(raw); err != nil {
		return err
	}
	if old, statErr := os.Stat(path); statErr == nil {
		keepOwner(f, old)
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if dir, openErr := os.Open(filepath.Dir(path)); openErr == nil {
		_ = dir.Sync() // not every system can
		_ = dir.Close()
	}
	return nil
}
