// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Kind is what an entry of a layer is.
type Kind uint8

// The kinds of entries. Whiteout and Opaque take away what lower layers have.
const (
	File Kind = iota
	Dir
	Symlink
	Link // hard
	Char
	Block
	Fifo
	Whiteout // of Name and all below it
	Opaque   // of all below the directory Name
)

// An Entry is one change of a layer.
type Entry struct {
	// Name is clean and slash-separated, without a slash at its start; "." is the
	// root. Of a whiteout it is what goes away, of an opaque marker the directory.
	// Its bytes are those of the layer, UTF-8 or not.
	Name string
	Kind Kind
	// Link is the target: of a symlink as it is written, of a hard link a clean
	// name like Name.
	Link   string
	Size   int64       // of the content of a File
	Header *tar.Header // as the layer has it
}

// Limits bound what a layer may ask for. Zero values are the defaults.
type Limits struct {
	Entries int   // of one image: 5,000,000
	Header  int64 // bytes of one header with its extensions: 1 MiB
	Bytes   int64 // of one uncompressed layer, its holes filled: 1 TiB
}

func (l Limits) defaults() Limits {
	if l.Entries <= 0 {
		l.Entries = 5_000_000
	}
	if l.Header <= 0 {
		l.Header = 1 << 20
	}
	if l.Bytes <= 0 {
		l.Bytes = 1 << 40
	}
	return l
}

// A Reader reads the entries of one layer's tar. ErrInvalid for names that
// leave the root, and for what two readers could understand differently.
type Reader struct {
	tr      *tar.Reader
	raw     *scanner
	limits  Limits
	entries int
	bytes   int64
	err     error // sticky
}

// NewReader reads a tar that is not compressed.
func NewReader(r io.Reader, l Limits) *Reader {
	l = l.defaults()
	raw := &scanner{r: bufio.NewReaderSize(r, 32<<10), header: l.Header, left: l.Bytes}
	return &Reader{tr: tar.NewReader(raw), raw: raw, limits: l}
}

// Next goes to the next entry; io.EOF at the end of the layer, when all that
// follows the end marker has been read as well. Global headers and the private
// files of aufs are passed over.
func (r *Reader) Next() (*Entry, error) {
	for r.err == nil {
		e, err := r.next()
		if err != nil {
			r.err = err
			break
		}
		if e != nil {
			return e, nil
		}
	}
	return nil, r.err
}

// Entries are what Next returns, to the end of the layer or the first error.
func (r *Reader) Entries() iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for {
			e, err := r.Next()
			if err == io.EOF || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Read reads the content of the entry, of a File. Holes are zeros.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.tr.Read(p)
	return n, r.kind(err)
}

func (r *Reader) next() (*Entry, error) {
	h, err := r.tr.Next()
	if err == io.EOF {
		if _, err := io.Copy(io.Discard, r.raw); err != nil {
			return nil, r.kind(err)
		}
		return nil, io.EOF
	}
	if err != nil {
		return nil, r.kind(err)
	}
	if r.entries++; r.entries > r.limits.Entries {
		return nil, oci.Errorf(oci.ErrInvalid, "more than %d entries", r.limits.Entries)
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil, nil
	}
	if err := r.raw.agrees(h); err != nil {
		return nil, err
	}
	e, err := newEntry(h)
	if err != nil || e == nil {
		return nil, err
	}
	if r.bytes += e.Size; e.Size > r.limits.Bytes || r.bytes > r.limits.Bytes {
		return nil, oci.Errorf(oci.ErrInvalid, "files of more than %d bytes", r.limits.Bytes)
	}
	return e, nil
}

// kind gives the errors of the tar format their kind.
func (r *Reader) kind(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case r.raw.err != nil && r.raw.err != io.EOF:
		return r.raw.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return oci.Errorf(oci.ErrInvalid, "layer ends within an entry")
	}
	return oci.Errorf(oci.ErrInvalid, "layer: %w", err)
}

// newEntry makes an entry of a header; nil if it has no meaning.
func newEntry(h *tar.Header) (*Entry, error) {
	name, err := cleanName(h.Name)
	if err != nil {
		return nil, err
	}
	e := &Entry{Name: name, Header: h}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.Kind, e.Size = File, h.Size
		if strings.HasSuffix(h.Name, "/") && name != "." { // as other tar programs read it
			if h.Size != 0 {
				return nil, oci.Errorf(oci.ErrInvalid, "%s is both a file and a directory", oci.Quote(h.Name))
			}
			e.Kind, h.Typeflag = Dir, tar.TypeDir
		}
	case tar.TypeDir:
		e.Kind = Dir
	case tar.TypeSymlink:
		e.Kind, e.Link = Symlink, h.Linkname
	case tar.TypeLink:
		e.Kind = Link
	case tar.TypeChar:
		e.Kind = Char
	case tar.TypeBlock:
		e.Kind = Block
	case tar.TypeFifo:
		e.Kind = Fifo
	default:
		return nil, oci.Errorf(oci.ErrUnsupported, "%s: entry of type %q", oci.Quote(h.Name), h.Typeflag)
	}
	if skip, err := e.whiteout(); skip || err != nil {
		return nil, err
	}
	switch {
	case name == "." && e.Kind != Dir && e.Kind != Opaque:
		return nil, oci.Errorf(oci.ErrInvalid, "unsafe path %s: the root can only be a directory", oci.Quote(h.Name))
	case e.Kind == Symlink && e.Link == "":
		return nil, oci.Errorf(oci.ErrInvalid, "link %s has no target", oci.Quote(name))
	case e.Kind == Link:
		if e.Link, err = cleanName(h.Linkname); err != nil {
			return nil, oci.Wrap("", "link "+oci.Quote(name), err)
		}
	}
	return e, nil
}
