// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A found is what a file or directory has for programs.
type found struct {
	platform  oci.Platform // zero: there is none
	programs  []located
	idle      []string // programs that nobody may execute, which are files like others
	libraries []string // names of files, and of links, that look like shared libraries
}

// A located program is where it is below what was looked through; "" for itself.
type located struct {
	name string
	program
}

// What is kept of one directory; of programs above that only the platform counts.
const (
	maxPrograms  = 2000
	maxIdle      = 3
	maxLibraries = 20_000
)

// look finds the programs of a source. In a directory those count that somebody
// may execute, and of Windows those at its top, if there are no others: tools bring
// such files along. ErrInvalid if they are for different platforms.
func look(ctx context.Context, src string) (*found, error) {
	info, err := os.Stat(src)
	if err != nil {
		return nil, err
	}
	f := &found{}
	if !info.IsDir() {
		p, err := lookAt(src, os.Open)
		if err != nil {
			return nil, oci.Wrap("", src, err)
		}
		if p != nil {
			f.platform, f.programs = p.platform, []located{{"", *p}}
			if info.Mode()&0o111 == 0 && runtime.GOOS != "windows" {
				f.idle = []string{src}
			}
		}
		return f, nil
	}
	windows := &found{}
	if err := f.lookBelow(ctx, src, windows); err != nil {
		return nil, err
	}
	if len(f.programs) == 0 {
		f.platform, f.programs = windows.platform, windows.programs
	}
	return f, nil
}

// lookAt reads what a file is; nil: no program.
func lookAt(name string, open func(string) (*os.File, error)) (*program, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	return sniff(f, info.Size())
}

func (f *found) lookBelow(ctx context.Context, src string, windows *found) error {
	root, err := os.OpenRoot(src)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		link := d != nil && d.Type() == fs.ModeSymlink && library(name)
		if err != nil || !d.Type().IsRegular() && !link {
			return err
		}
		if library(name) {
			if len(f.libraries) < maxLibraries {
				f.libraries = append(f.libraries, path.Base(name))
			}
			return nil
		}
		p, err := lookAt(name, root.Open)
		if errors.Is(err, oci.ErrInvalid) || errors.Is(err, oci.ErrUnsupported) { // nothing that an image could start
			return nil
		}
		if e, ok := errors.AsType[*fs.PathError](err); ok { // which knows the name below src
			return &fs.PathError{Op: "read", Path: filepath.Join(src, filepath.FromSlash(name)), Err: e.Err}
		}
		if err != nil || p == nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case p.platform.OS == "windows":
			if !strings.Contains(name, "/") {
				return windows.add(src, located{name, *p})
			}
		case info.Mode()&0o111 != 0 || runtime.GOOS == "windows":
			return f.add(src, located{name, *p})
		case len(f.idle) < maxIdle:
			f.idle = append(f.idle, name)
		}
		return nil
	})
}

// library reports whether a name is that of a shared library, some of which can
// be started too.
func library(name string) bool {
	name = path.Base(name)
	return strings.HasSuffix(name, ".so") || strings.Contains(name, ".so.")
}

// add takes a program that must be for the same platform as the others.
func (f *found) add(src string, p located) error {
	switch {
	case len(f.programs) == 0 || runsOn(f.platform, p.platform):
		f.platform = p.platform
	case !runsOn(p.platform, f.platform):
		first := f.programs[0]
		return oci.Errorf(oci.ErrInvalid, "%s: %s is for %s, and %s for %s: programs of one image must agree ({os} and {arch} in a path stand for those of several images, and --no-detect takes programs for plain files)",
			src, oci.Quote(first.name), oci.FormatPlatform(first.platform), oci.Quote(p.name), oci.FormatPlatform(p.platform))
	}
	if len(f.programs) < maxPrograms {
		f.programs = append(f.programs, p)
	}
	return nil
}
