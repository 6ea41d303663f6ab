// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"io"
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
	Name string
	Kind Kind
	// Link is the target: of a symlink as it is written, of a hard link a clean
	// name like Name.
	Link   string
	Size   int64
	Header *tar.Header // as the layer has it
}

// Limits bound what a layer may ask for. Zero values are the defaults.
type Limits struct {
	Entries int   // of one image: 5,000,000
	Header  int64 // bytes of one header with its extensions: 1 MiB
	Bytes   int64 // of one uncompressed layer: 1 TiB
}

// A Reader reads the entries of one layer's tar. ErrInvalid for names that
// leave the root, and for what two readers could understand differently.
type Reader struct {
	tr *tar.Reader
	// TODO(layer): limits
}

// NewReader reads a tar that is not compressed.
func NewReader(r io.Reader, l Limits) *Reader { return &Reader{tr: tar.NewReader(r)} }

// Next goes to the next entry; io.EOF at the end of the layer, when all that
// follows the end marker has been read as well.
func (r *Reader) Next() (*Entry, error) { return nil, io.EOF }

// Read reads the content of the entry, of a File.
func (r *Reader) Read(p []byte) (int, error) { return r.tr.Read(p) }
