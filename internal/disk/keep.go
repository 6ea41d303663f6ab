// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"io"
	"os"
	"path/filepath"
)

// Keep writes a file of a cache, whole or not at all, in the place of one that
// is there; the directory is made if it is missing. What it says is not made
// durable. What a killed process leaves is called .new-*.
func Keep(path string, write func(w io.Writer) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
