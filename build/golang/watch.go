// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Watch implements build.Watcher: the packages of the user's own modules that the
// programs need, go.mod and the like, and what goes into the image as it is.
func (b *builder) Watch(ctx context.Context) ([]string, error) {
	var out []string
	for _, p := range b.programs {
		list, err := p.sources(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		if dir := filepath.Join(p.Dir, "kodata"); isDir(dir) {
			out = append(out, dir)
		}
	}
	for _, f := range b.o.Files {
		out = append(out, join(b.o.Dir, f.From))
	}
	if b.o.Config.Path != "" {
		out = append(out, b.o.Config.Path)
	}
	for n, path := range out {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		out[n] = abs
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// sources are the directories and files that the go command reads for a program.
func (p *Program) sources(ctx context.Context) (out []string, err error) {
	raw, err := p.tool.run(ctx, p.work, nil, "list", "-e", "-deps", "-json=Dir,Standard,Module", "--", p.ImportPath)
	if err != nil {
		return nil, err
	}
	for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
		var l struct {
			Dir      string
			Standard bool
			Module   *struct {
				Main    bool
				GoMod   string
				Version string
				Replace *struct{ Version string }
			}
		}
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		local := l.Module != nil && (l.Module.Main || l.Module.Replace != nil && l.Module.Replace.Version == "")
		if l.Standard || l.Dir == "" || !local {
			continue
		}
		out = append(out, l.Dir)
		for _, name := range []string{"go.mod", "go.sum"} {
			if path := filepath.Join(filepath.Dir(l.Module.GoMod), name); l.Module.GoMod != "" && isFile(path) {
				out = append(out, path)
			}
		}
	}
	work, err := p.tool.run(ctx, p.work, nil, "env", "GOWORK")
	if path := string(bytes.TrimSpace(work)); err == nil && filepath.IsAbs(path) {
		out = append(out, path)
	}
	return out, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
