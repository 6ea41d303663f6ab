// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"hash"
	"io"
	"maps"
	"path"
	"strings"
	"sync"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/gzip"

	"github.com/dray-tools/dray/oci"
)

// The annotations of an eStargz layer's descriptor.
const (
	AnnotationTOC       = estargz.TOCJSONDigestAnnotation         // digest of the table of contents
	AnnotationPlainSize = estargz.StoreUncompressedSizeAnnotation // bytes of the tar
)

// maxTOC bounds the entries of a layer that becomes eStargz: its table of
// contents is kept in memory, some 500 bytes an entry.
const maxTOC = 1_000_000

// estargzWriter makes eStargz of a tar in one pass, in the order that the tar
// has. It is a pipe to two goroutines: one reads the tar and takes out what an
// earlier eStargz has left in it, the other is the library.
type estargzWriter struct {
	in   *io.PipeWriter
	wg   sync.WaitGroup
	once sync.Once
	err  error // what went wrong first
	gz   *countedGzip

	diffID, digest oci.Digest
}

func newEstargzWriter(out io.Writer, level int) *estargzWriter {
	if level == 0 {
		level = gzip.DefaultCompression
	}
	tarR, tarW := io.Pipe()
	cleanR, cleanW := io.Pipe()
	e := &estargzWriter{in: tarW, gz: &countedGzip{GzipCompressor: estargz.NewGzipCompressorWithLevel(level), level: level}}
	e.wg.Go(func() {
		buf := bufio.NewWriterSize(cleanW, 64<<10)
		err := cleanTar(buf, bufio.NewReaderSize(tarR, 64<<10))
		if err == nil {
			err = buf.Flush()
		}
		err = e.failed(err)
		cleanW.CloseWithError(err)
		tarR.CloseWithError(err) // what the caller's next Write says
	})
	e.wg.Go(func() {
		err := e.pack(failing{out, e}, cleanR)
		if err != nil {
			err = e.failed(oci.Errorf(oci.ErrInvalid, "estargz: %w", err))
		}
		cleanR.CloseWithError(err)
	})
	return e
}

// failed notes an error and returns the one that was first.
func (e *estargzWriter) failed(err error) error {
	if err == nil {
		return nil
	}
	e.once.Do(func() { e.err = err })
	return e.err
}

// failing notes why it could not be written, before the library wraps that.
type failing struct {
	w io.Writer
	e *estargzWriter
}

func (f failing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	return n, f.e.failed(err)
}

func (e *estargzWriter) pack(out io.Writer, r io.Reader) error {
	z := estargz.NewWriterWithCompressor(out, e.gz)
	if err := z.AppendTar(bytes.NewReader(landmark())); err != nil {
		return err
	}
	if err := z.AppendTar(r); err != nil {
		return err
	}
	toc, err := z.Close()
	e.digest, e.diffID = toc, oci.Digest(z.DiffID())
	return err
}

func (e *estargzWriter) Write(p []byte) (int, error) { return e.in.Write(p) }

func (e *estargzWriter) Close() error { return e.end(io.EOF) }

// end ends the tar: with io.EOF in good order.
func (e *estargzWriter) end(err error) error {
	e.in.CloseWithError(err)
	e.wg.Wait()
	return e.err
}

// landmark is a tar with the entry that says that no file comes first.
func landmark() []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	_ = w.WriteHeader(&tar.Header{Name: estargz.NoPrefetchLandmark, Typeflag: tar.TypeReg, Size: 1, Mode: 0o644}) // memory does not fail
	_, _ = w.Write([]byte{0xf})
	_ = w.Close()
	return buf.Bytes()
}

// cleanTar writes the tar again without what an earlier eStargz has added, in
// the kinds of entries that the library knows. ErrInvalid if it is not a tar.
func cleanTar(w io.Writer, r io.Reader) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	buf := make([]byte, 64<<10)
	for n := 0; ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return oci.Errorf(oci.ErrInvalid, "not a tar: %w", err)
		}
		switch strings.TrimPrefix(path.Clean("/"+h.Name), "/") {
		case estargz.TOCTarName, estargz.NoPrefetchLandmark, estargz.PrefetchLandmark:
			continue
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if n++; n > maxTOC {
			return oci.Errorf(oci.ErrInvalid, "layer has more than %d entries, too many for eStargz", maxTOC)
		}
		if err := copyEntry(out, in, h, buf); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	_, err := io.CopyBuffer(onlyWriter{io.Discard}, r, buf) // what follows the tar's end
	return err
}

func copyEntry(out *tar.Writer, in *tar.Reader, h *tar.Header, buf []byte) error {
	if h.Typeflag == tar.TypeGNUSparse {
		h.Typeflag = tar.TypeReg // the holes are read as zeros
	}
	maps.DeleteFunc(h.PAXRecords, func(k, _ string) bool { return strings.HasPrefix(k, "GNU.sparse.") })
	h.Format = tar.FormatUnknown // what fits
	if err := out.WriteHeader(h); err != nil {
		return oci.Errorf(oci.ErrInvalid, "entry %s: %w", oci.Quote(h.Name), err) // or what failed has been noted
	}
	if _, err := io.CopyBuffer(onlyWriter{out}, in, buf); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return oci.Errorf(oci.ErrInvalid, "not a tar: %w", err)
		}
		return err
	}
	return nil
}

// countedGzip packs with the quicker of two libraries for gzip, and counts the
// bytes of the tar.
type countedGzip struct {
	*estargz.GzipCompressor
	level int
	n     int64
	last  *gzip.Writer // used again for the next member
}

// Writer implements estargz.Compressor.
func (g *countedGzip) Writer(w io.Writer) (estargz.WriteFlushCloser, error) {
	if g.last == nil {
		z, err := gzip.NewWriterLevel(w, g.level)
		if err != nil {
			return nil, err
		}
		g.last = z
	} else {
		g.last.Reset(w) // one member is closed before the next begins
	}
	return &countedMember{g.last, g}, nil
}

// WriteTOCAndFooter implements estargz.Compressor.
func (g *countedGzip) WriteTOCAndFooter(w io.Writer, off int64, toc *estargz.JTOC, diff hash.Hash) (oci.Digest, error) {
	return g.GzipCompressor.WriteTOCAndFooter(w, off, toc, countedHash{diff, g})
}

type countedMember struct {
	*gzip.Writer
	g *countedGzip
}

func (m *countedMember) Write(p []byte) (int, error) {
	n, err := m.Writer.Write(p)
	m.g.n += int64(n)
	return n, err
}

type countedHash struct {
	hash.Hash
	g *countedGzip
}

func (h countedHash) Write(p []byte) (int, error) {
	h.g.n += int64(len(p))
	return h.Hash.Write(p)
}
