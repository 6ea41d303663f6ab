// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"runtime/debug"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
)

// maxFiles is how many files a bill of materials names; of more only programs.
const maxFiles = 5000

// describe says what the image is made of beside its base: its programs, the crates
// or modules that they say they are built from, and its files, with the digests
// that the layers have, which are the upper ones.
func describe(ctx context.Context, e *build.Engine, s *build.Stack, programs []placed, layers int) error {
	outlines, err := s.Outlines(ctx)
	if err != nil {
		return err
	}
	outlines = outlines[len(outlines)-layers:] // a base that was made here tells of itself
	known := map[string]placed{}
	for _, p := range programs {
		known[strings.TrimPrefix(p.at, "/")] = p
	}
	var parts []build.Component
	files, left := 0, 0
	for _, o := range outlines {
		for c, err := range o.Changes() {
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(c.Name, "Files/") // of a layer for Windows
			p, isProgram := known[name]
			if c.Kind != layer.File || c.Content == "" {
				continue
			}
			if files++; files > maxFiles && !isProgram {
				left++
				continue
			}
			one := build.Component{Kind: "file", Name: "/" + name, Path: "/" + name, Hashes: map[string]string{"sha256": c.Content.Encoded()}}
			if isProgram {
				var list []build.Component
				one, list = p.made(one)
				parts = append(parts, list...)
			}
			s.Components = append(s.Components, one)
		}
	}
	if left > 0 {
		e.Note("bills of materials leave out %d of %d files", left, files)
	}
	seen := map[string]bool{}
	for _, c := range parts {
		if !seen[c.PURL] {
			s.Components = append(s.Components, c)
		}
		seen[c.PURL] = true
	}
	return nil
}

// made is the program as its file says it, and what it is built from.
func (p *program) made(file build.Component) (app build.Component, parts []build.Component) {
	if info := goBuild(p.goInfo); info != nil {
		all := build.GoComponents(info, file.Path, file.Hashes["sha256"])
		return all[0], all[1:]
	}
	file.Kind, parts = "application", cratesOf(p.crates)
	for _, c := range parts {
		file.Needs = append(file.Needs, c.PURL)
	}
	return file, parts
}

// goBuild is what the go command writes into programs since 1.18: versions and
// modules, as texts with their lengths; nil: it did not. (debug/buildinfo reads
// whatever sizes a file claims.)
func goBuild(section []byte) *debug.BuildInfo {
	const header, mark = 32, 16 // of the section, and around the modules
	if len(section) < header || !bytes.HasPrefix(section, goMagic) || section[15]&2 == 0 {
		return nil
	}
	cut := func(b []byte) (text, rest []byte) {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, nil
		}
		return b[size:][:n], b[size:][n:]
	}
	version, rest := cut(section[header:])
	modules, _ := cut(rest)
	if len(modules) < 2*mark+1 || modules[len(modules)-mark-1] != '\n' {
		return nil
	}
	info, err := debug.ParseBuildInfo(string(modules[mark : len(modules)-mark]))
	if err != nil || len(info.Deps) > maxFiles {
		return nil
	}
	info.GoVersion = string(version)
	return info
}

// cratesOf are the dependencies that cargo-auditable keeps in a program of Rust
// (its PARSING.md): JSON that zlib has packed. What cannot be read is nothing.
func cratesOf(packed []byte) (all []build.Component) {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxCrates+1))
	if err != nil || len(raw) > maxCrates {
		return nil
	}
	var list struct {
		Packages []struct {
			Name, Version, Source, Kind string
			Root                        bool
		}
	}
	if json.Unmarshal(raw, &list) != nil || len(list.Packages) > maxFiles {
		return nil
	}
	for _, p := range list.Packages {
		if p.Root || p.Kind == "build" || p.Name == "" { // which is no part of the program
			continue
		}
		purl := packageurl.NewPackageURL(packageurl.TypeCargo, "", p.Name, p.Version, nil, "").ToString()
		all = append(all, build.Component{Kind: "library", Name: p.Name, Version: p.Version, PURL: purl})
	}
	return all
}
