// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"path"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// Limits for what an archive may make us keep in memory.
const (
	maxMembers  = 1_000_000
	maxPath     = 4096     // bytes of a name; longer ones cannot be asked for
	maxNames    = 32 << 20 // bytes of all names
	maxLinks    = 8        // from one member to the next
	maxDocument = 16 << 20 // bytes of index.json, manifest.json, repositories
)

// A member is where a file of the archive is.
type member struct {
	off, size int64
	link      string // to another member, from the top of the archive
	err       error  // why it cannot be read
}

// members are the files and links of a tar, by their cleaned names. Members
// whose names lead out of the archive are not among them.
type members struct {
	r      io.ReaderAt
	byName map[string]member
	names  int // bytes
}

// scan reads the headers of a tar and skips its contents. A name may be there
// twice if the bytes are the same; if not, which of them counts differs from
// reader to reader, so none does: the member cannot be read. ErrInvalid if the
// tar is broken or cut, or beyond the limits.
func scan(ctx context.Context, r io.ReaderAt, size int64) (*members, error) {
	m := &members{r: r, byName: map[string]member{}}
	at := &window{r: r, size: size} // archive/tar seeks in it
	var end int64                   // of the last member
	for tr, n := tar.NewReader(at), 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF && n > 0 {
			if end >= size { // archive/tar does not mind
				return nil, oci.Errorf(oci.ErrInvalid, "the tar archive is cut: it has no end")
			}
			return m, nil
		}
		if err == nil && n >= maxMembers {
			err = oci.Errorf(oci.ErrInvalid, "more than %d members", maxMembers)
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			end = at.pos
			if err = m.add(h, end); h.Typeflag == tar.TypeReg {
				end += h.Size + padding(h.Size)
			}
		}
		switch {
		case err == io.EOF:
			return nil, oci.Errorf(oci.ErrInvalid, "not a tar archive: it is empty")
		case err != nil && n == 0:
			return nil, oci.Errorf(oci.ErrInvalid, "not a tar archive: %w", err)
		case err != nil:
			return nil, oci.Errorf(oci.ErrInvalid, "broken tar archive, after %d members: %w", n, err)
		}
	}
}

func (m *members) add(h *tar.Header, off int64) error {
	name, ok := local(h.Name)
	if !ok || len(name) > maxPath {
		return nil
	}
	e := member{off: off, size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				e.err = oci.Errorf(oci.ErrUnsupported, "member %s is a sparse file", oci.Quote(name))
			}
		}
	case tar.TypeGNUSparse:
		e.err = oci.Errorf(oci.ErrUnsupported, "member %s is a sparse file", oci.Quote(name))
	case tar.TypeLink:
		e.link = h.Linkname
	case tar.TypeSymlink:
		if e.link = h.Linkname; !path.IsAbs(e.link) {
			e.link = path.Join(path.Dir(name), e.link)
		}
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	default:
		e.err = oci.Errorf(oci.ErrCorrupt, "member %s is not a regular file", oci.Quote(name))
	}
	if before, twice := m.byName[name]; twice && !m.same(before, e) {
		e.err = oci.Errorf(oci.ErrInvalid, "member %s is there twice, with different bytes", oci.Quote(name))
	}
	if m.names += len(name) + len(e.link); m.names > maxNames {
		return oci.Errorf(oci.ErrInvalid, "more than %d bytes of names", maxNames)
	}
	m.byName[name] = e
	return nil
}

// same reports whether two members have the same bytes.
func (m *members) same(a, b member) bool {
	if a.err != nil || b.err != nil || a.size != b.size || a.link != b.link {
		return false
	}
	x, y := io.NewSectionReader(m.r, a.off, a.size), io.NewSectionReader(m.r, b.off, b.size)
	var p, q [32 << 10]byte
	for {
		n, err := io.ReadFull(x, p[:])
		k, _ := io.ReadFull(y, q[:])
		if !bytes.Equal(p[:n], q[:k]) {
			return false
		}
		if err != nil {
			return err == io.EOF || err == io.ErrUnexpectedEOF
		}
	}
}

// local cleans a name; false if it leads out of the archive or is nothing.
func local(name string) (string, bool) {
	clean := path.Clean(name)
	ok := name != "" && clean != "." && !path.IsAbs(clean) && clean != ".." && !strings.HasPrefix(clean, "../")
	return clean, ok
}

func (m *members) has(name string) bool {
	_, ok := m.byName[name]
	return ok
}

// open gives the bytes of a member, following links. ErrNotFound if it is not
// there, ErrInvalid if the name or a link leads out of the archive, or links
// lead nowhere.
func (m *members) open(name string) (*io.SectionReader, error) {
	for at, hop := name, 0; hop <= maxLinks; hop++ {
		clean, ok := local(at)
		if !ok {
			return nil, oci.Errorf(oci.ErrInvalid, "member %s leads out of the archive", oci.Quote(name))
		}
		e, ok := m.byName[clean]
		switch {
		case !ok:
			return nil, oci.Errorf(oci.ErrNotFound, "no member %s", oci.Quote(at))
		case e.err != nil:
			return nil, e.err
		case e.link == "":
			return io.NewSectionReader(m.r, e.off, e.size), nil
		}
		at = e.link
	}
	return nil, oci.Errorf(oci.ErrInvalid, "member %s is a link to a link and so on, more than %d times", oci.Quote(name), maxLinks)
}

// regular is open for what must not be a link.
func (m *members) regular(name string) (*io.SectionReader, error) {
	if m.byName[name].link != "" {
		return nil, oci.Errorf(oci.ErrCorrupt, "member %s is a link", oci.Quote(name))
	}
	return m.open(name)
}

// document reads a small member whole.
func (m *members) document(name string, limit int64) ([]byte, error) {
	r, err := m.open(name)
	if err != nil {
		return nil, err
	}
	if r.Size() > limit {
		return nil, oci.Errorf(oci.ErrInvalid, "member %s has %d bytes, more than %d", oci.Quote(name), r.Size(), limit)
	}
	return io.ReadAll(r)
}
