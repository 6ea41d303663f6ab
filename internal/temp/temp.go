// SPDX-License-Identifier: Apache-2.0

// Package temp makes files that go with the process, however it ends.
package temp

import (
	"os"
	"runtime"
)

// A File has no name where the system allows that; elsewhere it is removed by
// Close.
type File struct{ *os.File }

// Create makes a file in dir, or in the system's directory if dir is empty.
// Only its owner may read it.
func Create(dir string) (*File, error) {
	f, err := os.CreateTemp(dir, "dray-*")
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" {
		err = os.Remove(f.Name())
	}
	return &File{f}, err
}

// Close closes and removes the file.
func (f *File) Close() error {
	err := f.File.Close()
	if runtime.GOOS == "windows" {
		if rerr := os.Remove(f.Name()); err == nil {
			err = rerr
		}
	}
	return err
}
