// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// WriteTar writes what Create packs, as a tar: Rewrite puts it in place on a
// base. Created has no descriptor and no diff ID then.
func WriteTar(ctx context.Context, w io.Writer, src string, o CreateOptions) (Created, error) {
	return create(ctx, w, w, src, o)
}

// create writes the tar to w; out is what becomes of it in the end.
func create(ctx context.Context, w, out io.Writer, src string, o CreateOptions) (Created, error) {
	s, err := openSource(src, o.Prefix)
	if err != nil {
		return Created{}, err
	}
	defer s.root.Close()
	c := &creator{o: o, self: regularFile(out), links: map[disk.Inode]string{}, queue: make(chan *item, readAhead), work: make(chan *item, readAhead)}
	if err := c.run(ctx, s, w); err != nil {
		return Created{}, err
	}
	return c.done, nil
}

// A placed source is a directory, or one file in it, and where that goes.
type placed struct {
	root   *os.Root
	file   string // "": all
	prefix string // "" or with a slash at its end; of a file its whole name
}

func openSource(src, prefix string) (*placed, error) {
	clean, err := cleanPrefix(prefix, false)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(src)
	if err != nil {
		return nil, err
	}
	s := &placed{prefix: clean}
	if !info.Mode().IsRegular() {
		if clean != "" {
			s.prefix += "/"
		}
		s.root, err = os.OpenRoot(src)
		return s, err
	}
	if clean == "" || strings.HasSuffix(prefix, "/") {
		s.prefix = path.Join(clean, filepath.Base(src))
	}
	if err := checkHidden(s.prefix); err != nil {
		return nil, err
	}
	if src, err = filepath.EvalSymlinks(src); err != nil {
		return nil, err
	}
	s.file = filepath.Base(src)
	s.root, err = os.OpenRoot(filepath.Dir(src))
	return s, err
}

// all queues what is in the directory, and before it the directory itself if it
// gets a name.
func (c *creator) all(ctx context.Context, s *placed) error {
	if s.prefix != "" {
		info, err := s.root.Stat(".")
		if err != nil {
			return err
		}
		i, err := c.item(s.root, "", ".", info)
		if err != nil {
			return err
		}
		i.h.Name = s.prefix
		if err := c.send(ctx, i); err != nil {
			return err
		}
	}
	return c.walk(ctx, s.root, s.prefix, 0)
}

// single queues one file under its new name.
func (c *creator) single(ctx context.Context, s *placed) error {
	info, err := s.root.Lstat(s.file)
	if err != nil {
		return changed(s.file, err)
	}
	if !info.Mode().IsRegular() {
		return oci.Errorf(oci.ErrBusy, "%s was changed while it was read", oci.Quote(s.file))
	}
	i, err := c.item(s.root, "", s.file, info)
	if err != nil {
		return err
	}
	i.h.Name = s.prefix
	return c.send(ctx, i)
}
