// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
)

// maxFiles is how many files a bill of materials names; of more only programs.
const maxFiles = 5000

// describe says what the image is made of: its programs, the crates that they say
// they are built from, and its files, with the digests that the layers have.
func describe(ctx context.Context, e *build.Engine, s *build.Stack, programs []placed) error {
	outlines, err := s.Outlines(ctx)
	if err != nil {
		return err
	}
	known := map[string]placed{}
	for _, p := range programs {
		known[strings.TrimPrefix(p.at, "/")] = p
	}
	var crates []build.Component
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
				one.Kind = "application"
				list := cratesOf(p.crates)
				for _, c := range list {
					one.Needs = append(one.Needs, c.PURL)
				}
				crates = append(crates, list...)
			}
			s.Components = append(s.Components, one)
		}
	}
	if left > 0 {
		e.Note("bills of materials leave out %d of %d files", left, files)
	}
	seen := map[string]bool{}
	for _, c := range crates {
		if !seen[c.PURL] {
			s.Components = append(s.Components, c)
		}
		seen[c.PURL] = true
	}
	return nil
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
