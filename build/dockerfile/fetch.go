// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// directory is where the files of a context are: an address is fetched. text is a
// Dockerfile that is there instead, without files.
func (p *plan) directory(ctx context.Context, at string) (dir string, text []byte, err error) {
	if !place.IsRemote(at) {
		return at, nil, nil
	}
	if p.o.Scratch == "" {
		return "", nil, oci.Errorf(oci.ErrUnsupported, "%s: nothing is fetched here", place.Discreet(at))
	}
	open, m, err := place.Remote(ctx, p.e, at)
	if err != nil {
		return "", nil, err
	}
	r, err := open()
	if err != nil {
		return "", nil, err
	}
	defer r.Close()
	if dir, err = os.MkdirTemp(p.o.Scratch, "context-*"); err != nil {
		return "", nil, err
	}
	p.materials = append(p.materials, m)
	text, err = Unpack(ctx, r, dir, p.e.Options().TempDir)
	return dir, text, oci.Wrap("", place.Discreet(at), err)
}

// Unpack puts a tar into a directory, which must not be there or be empty. It may
// be packed with gzip, zstd, bzip2 or xz. What is no tar is returned as it is:
// a Dockerfile without a context.
func Unpack(ctx context.Context, r io.Reader, dir, tempDir string) (text []byte, err error) {
	plain, packing, err := layer.Decompress(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	b := bufio.NewReader(plain)
	head, err := b.Peek(512)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !isTar(head) {
		if packing != layer.None {
			return nil, oci.Errorf(oci.ErrInvalid, "what is packed is no tar")
		}
		return ReadText(b)
	}
	f, err := os.CreateTemp(tempDir, "dray-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const most = 64 << 30
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(b, most+1))
	if err == nil && n > most {
		err = oci.Errorf(oci.ErrInvalid, "a context of more than %d bytes", int64(most))
	}
	if err != nil {
		return nil, err
	}
	if err := noWhiteouts(f); err != nil {
		return nil, err
	}
	d := oci.Descriptor{MediaType: oci.MediaLayer, Digest: oci.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), Size: n}
	_, err = layer.Unpack(ctx, dir, []oci.Blob{spooled{d, f.Name()}}, layer.UnpackOptions{NoOwner: true})
	return nil, err
}

// noWhiteouts refuses a tar that has what only a layer can have.
func noWhiteouts(f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for e, err := range layer.NewReader(f, layer.Limits{}).Entries() {
		switch {
		case err != nil:
			return err
		case e.Kind == layer.Whiteout || e.Kind == layer.Opaque:
			return oci.Errorf(oci.ErrInvalid, "%s: names that begin with .wh. mean in a layer that something is gone", oci.Quote(e.Header.Name))
		}
	}
	return nil
}

// ReadText reads a Dockerfile that is in no file. ErrInvalid if it is too large.
func ReadText(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err == nil && len(text) > maxText {
		err = oci.Errorf(oci.ErrInvalid, "a Dockerfile of more than %d bytes", maxText)
	}
	return append([]byte{}, text...), err // never nil
}

// isTar reports whether a file that begins so is a tar.
func isTar(head []byte) bool {
	if len(head) < 512 {
		return false
	}
	_, err := tar.NewReader(strings.NewReader(string(head))).Next()
	return !errors.Is(err, tar.ErrHeader)
}

// spooled is a blob in a file.
type spooled struct {
	d    oci.Descriptor
	path string
}

// Descriptor implements oci.Blob.
func (s spooled) Descriptor() oci.Descriptor { return s.d }

// Open implements oci.Blob.
func (s spooled) Open(context.Context) (io.ReadCloser, error) { return os.Open(s.path) }
