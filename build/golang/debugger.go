// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"context"
	"debug/buildinfo"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/dray-tools/dray/oci"
)

const delve = "github.com/go-delve/delve/cmd/dlv"

// debugger finds dlv for a platform: on PATH, and where go install puts it.
func (b *builder) debugger(ctx context.Context, p oci.Platform) (*made, error) {
	t := b.programs[0].tool
	out, err := t.run(ctx, b.programs[0].work, nil, "env", "GOBIN", "GOPATH")
	if err != nil {
		return nil, err
	}
	name := "dlv"
	if p.OS == "windows" {
		name += ".exe"
	}
	dirs := filepath.SplitList(last(t.env, "PATH"))
	gobin, paths, _ := strings.Cut(strings.TrimRight(string(out), "\r\n"), "\n")
	for _, dir := range append([]string{strings.TrimSpace(gobin)}, filepath.SplitList(strings.TrimSpace(paths))...) {
		if dir != "" && dir != strings.TrimSpace(gobin) {
			dir = filepath.Join(dir, "bin")
		}
		dirs = append(dirs, dir, filepath.Join(dir, p.OS+"_"+p.Architecture))
	}
	var wrong error
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		m, err := openDebugger(filepath.Join(dir, name), name, p)
		switch {
		case err == nil:
			m.input = m.layer("go "+delve, "")
			return m, nil
		case wrong == nil && !os.IsNotExist(err):
			wrong = err
		}
	}
	if wrong == nil {
		wrong = oci.Errorf(oci.ErrNotFound, "no %s on PATH", name)
	}
	return nil, oci.Wrap("", "debug", oci.Errorf(oci.ErrNotFound, "%w: CGO_ENABLED=0 GOOS=%s GOARCH=%s go install %s@latest makes one that fits", wrong, p.OS, p.Architecture, delve))
}

// openDebugger opens a dlv, if it is one that runs without anything of the base.
func openDebugger(path, name string, p oci.Platform) (*made, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	m := &made{name: name, file: f}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = os.ErrNotExist // a directory that is called so
	}
	if err == nil {
		m.size = info.Size()
		if m.info, err = buildinfo.Read(f); err != nil {
			err = oci.Errorf(oci.ErrInvalid, "%s is no program of Go: %w", oci.Quote(path), err)
		}
	}
	if err == nil {
		switch have := setting(m.info, "GOOS") + "/" + setting(m.info, "GOARCH"); {
		case m.info.Path != delve:
			err = oci.Errorf(oci.ErrInvalid, "%s is not %s", oci.Quote(path), delve)
		case have != p.OS+"/"+p.Architecture:
			err = oci.Errorf(oci.ErrInvalid, "%s is for %s, not for %s", oci.Quote(path), have, oci.FormatPlatform(p))
		case loader(f) != "":
			err = oci.Errorf(oci.ErrInvalid, "%s is not linked statically", oci.Quote(path))
		}
	}
	if err == nil {
		err = m.inspect()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

// setting is what the go command was told when it built a program.
func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// loader is the program that starts one of Linux which is not linked statically;
// "": none.
func loader(r io.ReaderAt) string {
	f, err := elf.NewFile(r)
	if err != nil {
		return ""
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err == nil {
				return strings.TrimRight(string(b), "\x00")
			}
		}
	}
	return ""
}
