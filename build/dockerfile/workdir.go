// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"archive/tar"
	"context"
	"io"
	"path"
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
func (s *stage) setWorkdir(ctx context.Context, c *command, to string) error {
	s.lintWorkdir(c, to)
	dir, err := s.path(s.workdir, to, false)
	if err != nil {
		return err
	}
	s.workdir = dir
	if err := s.stack.Apply(edit.SetWorkdir(system.FromSlash(dir, s.platform.OS))); err != nil || s.dry {
		return err
	}
	line := "WORKDIR " + dir
	missing, err := s.missing(ctx, dir)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return s.history(line)
	}
	owner, err := s.owner(ctx)
	if err != nil {
		return err
	}
	if err := s.tell(); err != nil {
		return err
	}
	in := input.Tar(line, input.TarOptions{Owner: owner}, func(_ context.Context, w io.Writer) error { return writeDirs(w, missing, owner) })
	_, err = s.stack.Add(ctx, in, build.AddOptions{Link: s.windows(), History: edit.History{CreatedBy: line}})
	return err
}

// missing are the directories that have to be made for one to be there, the
// highest first.
func (s *stage) missing(ctx context.Context, dir string) (list []string, err error) {
	for ; ; dir = path.Dir(dir) {
		there, err := s.isDir(ctx, dir)
		if there || err != nil {
			slices.Reverse(list)
			return list, err
		}
		list = append(list, dir)
		if s.windows() {
			s.made = append(s.made, strings.ToLower(dir))
		}
	}
}

// writeDirs writes a tar of directories.
func writeDirs(w io.Writer, dirs []string, owner *layer.Owner) error {
	t := tar.NewWriter(w)
	for _, dir := range dirs {
		h := &tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if owner != nil {
			h.Uid, h.Gid = owner.UID, owner.GID
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
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
// read: there it is one that all have, or that the base works in, or that was
// made before.
func (s *stage) isDir(ctx context.Context, dir string) (bool, error) {
	if dir == "/" {
		return true, nil
	}
	if s.windows() {
		dir = strings.ToLower(dir)
		return slices.Contains(s.made, dir) || slices.Contains(ofWindows, dir), nil
	}
	p, err := s.stack.Dir(ctx, dir[1:])
	if err == nil && p.There == layer.Blocked {
		err = oci.Errorf(oci.ErrInvalid, "WORKDIR %s: something that is no directory is in its place", oci.Quote(dir))
	}
	return p.There == layer.Present, err
}
