// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"archive/tar"
	"context"
	"io"
	"strings"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
)

// Where things are in an image, as with ko.
const (
	appDir  = "/ko-app"
	dataDir = "/var/run/ko"
	// On Windows:
	windowsAppDir  = `C:\ko-app`
	windowsDataDir = `C:\var\run\ko`
)

// layer is the tar of a program. Its modes depend on no umask, and nobody may
// write.
func (m *made) layer(by, caps string) *input.Input {
	name := strings.TrimPrefix(appDir, "/")
	return input.Tar(m.name, input.TarOptions{By: by}, func(ctx context.Context, w io.Writer) error {
		t := tar.NewWriter(w)
		if err := t.WriteHeader(directory(name, time.Time{})); err != nil {
			return err
		}
		h := file(name+"/"+m.name, m.size, time.Time{})
		if caps != "" {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": caps}
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if err := send(ctx, t, io.NewSectionReader(m.file, 0, m.size)); err != nil {
			return err
		}
		return t.Close()
	})
}

func directory(name string, at time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o555, ModTime: since1970(at)}
}

func file(name string, size int64, at time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o555, ModTime: since1970(at)}
}

func since1970(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0)
	}
	return t
}

// send copies until the end, or until the context ends.
func send(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// changes are those of the config: what starts, and where it finds things.
func changes(s *build.Stack, app string, dlv *made, data bool) []edit.Edit {
	bin, dataAt := appDir+"/", dataDir
	if s.Platform().OS == "windows" {
		bin, dataAt = windowsAppDir+`\`, windowsDataDir
	}
	start := []string{bin + app}
	if dlv != nil {
		start = []string{bin + dlv.name, "exec", "--listen=:40000", "--headless", "--log", "--accept-multiclient", "--api-version=2", "--", bin + app}
	}
	out := []edit.Edit{edit.SetEntrypoint(start...), edit.Unset(edit.Cmd), addPath}
	if data {
		out = append(out, edit.SetEnv("KO_DATA_PATH", dataAt))
	}
	return out
}

// addPath puts the programs' directory at the end of PATH. A Windows image
// without PATH has that of the system, which must not be hidden.
func addPath(i *edit.Image) error {
	dir, sep, windows := appDir, ":", i.Platform().OS == "windows"
	if windows {
		dir, sep = windowsAppDir, ";"
	}
	c, err := i.Config()
	if err != nil {
		return err
	}
	old, there := "", false
	for _, line := range c.Config.Env {
		if k, v, _ := strings.Cut(line, "="); k == "PATH" || windows && strings.EqualFold(k, "PATH") {
			old, there = v, true
		}
	}
	switch {
	case !there && windows:
		return nil
	case old == "":
		return edit.SetEnv("PATH", dir)(i)
	}
	for _, d := range strings.Split(old, sep) {
		if d == dir {
			return nil
		}
	}
	return edit.SetEnv("PATH", old+sep+dir)(i)
}

// checkLoader is an error if the stack lacks what a program needs to start that is
// not linked statically. Only then the files of the base are asked for.
func (m *made) checkLoader(ctx context.Context, s *build.Stack) error {
	l := loader(m.file)
	if l == "" {
		return nil
	}
	tree, err := s.Tree(ctx)
	if err != nil {
		return err
	}
	return s.CheckLoader(tree, m.info.Path, l)
}
