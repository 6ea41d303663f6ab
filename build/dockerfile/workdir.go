// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"archive/tar"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/util/system"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// setWorkdir goes to a directory, and makes it if it is not there.
func (s *stage) setWorkdir(ctx context.Context, c *command, path string) error {
	s.lintWorkdir(c, path)
	dir, err := s.path(s.workdir, path, false)
	if err != nil {
		return err
	}
	s.workdir = dir
	if err := s.stack.Apply(edit.SetWorkdir(system.FromSlash(dir, s.platform.OS))); err != nil || s.dry {
		return err
	}
	line := "WORKDIR " + dir
	there, err := s.isDir(ctx, dir)
	if err != nil {
		return err
	}
	if there {
		return s.history(line)
	}
	owner, err := s.owner(ctx)
	if err != nil {
		return err
	}
	s.made = append(s.made, dir)
	in := input.Tar(line, input.TarOptions{Owner: owner}, func(_ context.Context, w io.Writer) error { return writeDir(w, dir, owner) })
	_, err = s.stack.Add(ctx, in, build.AddOptions{Link: s.windows(), History: edit.History{CreatedBy: line}})
	return err
}

// writeDir writes a tar of a directory.
func writeDir(w io.Writer, dir string, owner *layer.Owner) error {
	h := &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if owner != nil {
		h.Uid, h.Gid = owner.UID, owner.GID
	}
	t := tar.NewWriter(w)
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	return t.Close()
}

// owner is the user of the stage, by number; nil: root, or Windows.
func (s *stage) owner(ctx context.Context) (*layer.Owner, error) {
	if s.user == "" || s.windows() {
		return nil, nil
	}
	o, err := place.Owner(ctx, s.e, s.stack, s.user)
	return o, oci.Wrap("", "USER "+oci.Quote(s.user), err)
}

// ofWindows are directories that are there in every image of Windows.
var ofWindows = []string{"/", "/windows", "/windows/system32", "/users", "/users/public", "/program files", "/programdata"}

// isDir reports whether there is a directory. Nothing of a base of Windows is
// read: there it is one that all have, or the base itself works in, or that was
// made before.
func (s *stage) isDir(ctx context.Context, dir string) (bool, error) {
	if slices.Contains(s.made, dir) || dir == "/" {
		return true, nil
	}
	if s.windows() {
		return slices.Contains(ofWindows, strings.ToLower(dir)), nil
	}
	p, err := s.stack.Dir(ctx, dir[1:])
	return p.There == layer.Present, err
}
