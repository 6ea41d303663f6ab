// SPDX-License-Identifier: Apache-2.0

package image

import (
	"os"
	"runtime"
)

// A tempFile goes when it is closed, or with the process: where the system can
// do that it has no name.
type tempFile struct{ *os.File }

func newTempFile(dir string) (*tempFile, error) {
	f, err := os.CreateTemp(dir, "dray-layer-*")
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" {
		err = os.Remove(f.Name())
	}
	return &tempFile{f}, err
}

// Close removes the file.
func (f *tempFile) Close() error {
	err := f.File.Close()
	if runtime.GOOS == "windows" {
		if rerr := os.Remove(f.Name()); err == nil {
			err = rerr
		}
	}
	return err
}
