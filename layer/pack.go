// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"crypto/sha256"
	"hash"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

// A Packing is how a layer is to be packed. The zero value is gzip.
type Packing struct {
	Compression Compression // Gzip, Zstd or None; "": Gzip
	Level       int         // 1 to 9, of zstd to 22; 0: the default of the compression
	Estargz     bool        // gzip with a table of contents, so that parts can be read
}

// ParsePacking reads gzip, zstd, none or estargz, with :LEVEL behind it if one
// is wanted. ErrInvalid otherwise.
func ParsePacking(s string) (Packing, error) {
	name, level, hasLevel := strings.Cut(s, ":")
	var p Packing
	switch name {
	case "gzip", "zstd", "none":
		p.Compression = Compression(name)
	case "estargz":
		p.Compression, p.Estargz = Gzip, true
	default:
		return p, oci.Errorf(oci.ErrInvalid, "compression %s: want gzip, zstd, none or estargz, or one of them with :LEVEL", oci.Quote(s))
	}
	if !hasLevel {
		return p, nil
	}
	n, err := strconv.Atoi(level)
	if err != nil || n < 1 || n > p.maxLevel() {
		if p.maxLevel() == 0 {
			return p, oci.Errorf(oci.ErrInvalid, "compression %s: none has no level", oci.Quote(s))
		}
		return p, oci.Errorf(oci.ErrInvalid, "compression %s: want a level from 1 to %d", oci.Quote(s), p.maxLevel())
	}
	p.Level = n
	return p, nil
}

func (p Packing) compression() Compression {
	if p.Compression == "" {
		return Gzip
	}
	return p.Compression
}

func (p Packing) maxLevel() int {
	switch p.compression() {
	case Gzip:
		return 9
	case Zstd:
		return 22
	}
	return 0
}

// Check reports whether there is such a packing: ErrInvalid if not,
// ErrUnsupported for a compression that is only read.
func (p Packing) Check() error {
	switch c := p.compression(); {
	case c == Bzip2 || c == XZ:
		return oci.Errorf(oci.ErrUnsupported, "%s is read, not written", c)
	case c != Gzip && c != Zstd && c != None, p.Level < 0, p.Level > p.maxLevel(), p.Estargz && c != Gzip:
		return oci.Errorf(oci.ErrInvalid, "compression %s does not exist", oci.Quote(p.String()))
	}
	return nil
}

// String is what ParsePacking reads.
func (p Packing) String() string {
	s := string(p.compression())
	if p.Estargz {
		s = "estargz"
	}
	if p.Level != 0 {
		s += ":" + strconv.Itoa(p.Level)
	}
	return s
}

// MediaType is that of a layer which was of the type old and is packed like
// this now.
func (p Packing) MediaType(old string) string { return MediaType(old, p.compression()) }

// packingVersion changes when the code here packs the same tar differently.
const packingVersion = "1"

// Key names all that the packed bytes depend on beside the tar: the settings
// and the versions of the libraries. Equal keys give equal bytes, on any
// machine.
func (p Packing) Key() string { return p.String() + " " + versions() }

var versions = sync.OnceValue(func() string {
	parts := []string{"dray-packing", packingVersion, runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			switch m.Path {
			case "github.com/klauspost/compress", "github.com/klauspost/pgzip", "github.com/containerd/stargz-snapshotter/estargz":
				parts = append(parts, m.Path+"@"+m.Version)
			}
		}
	}
	return strings.Join(parts, " ")
})

// CompressionOf is how a layer of a media type, of either family, is compressed;
// ok is false of foreign layers and of what is no tar.
func CompressionOf(mediaType string) (c Compression, ok bool) {
	switch oci.ToOCI(mediaType) {
	case oci.MediaLayer:
		return None, true
	case oci.MediaLayerGzip:
		return Gzip, true
	case oci.MediaLayerZstd:
		return Zstd, true
	}
	return None, false
}

// PackedAnnotations reports whether annotations are such as Packed can have.
func PackedAnnotations(all map[string]string) bool {
	for k, v := range all {
		switch k {
		case AnnotationTOC:
			if _, err := oci.ParseDigest(v); err != nil {
				return false
			}
		case AnnotationPlainSize:
			if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// Packed tells what a Writer has written.
type Packed struct {
	Digest      oci.Digest        // of the packed bytes
	Size        int64             // of the packed bytes
	DiffID      oci.Digest        // of the tar that comes out again
	Plain       int64             // bytes of the tar that went in
	Annotations map[string]string // that the layer's descriptor needs
}

// A Writer packs the tar that is written to it, on all cores and in bounded
// memory. Close ends it, Packed is valid after that.
type Writer struct {
	in     io.WriteCloser // packs
	out    counter        // what is packed
	plain  hash.Hash
	n      int64
	packed Packed
	toc    *estargzWriter // in, if it is one
}

// NewWriter packs to w, which Close does not close. The bytes depend on the
// Key and the tar alone. With Estargz the tar has to be one, and its DiffID
// becomes another.
func (p Packing) NewWriter(w io.Writer) (*Writer, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	z := &Writer{out: counter{w: w, h: sha256.New()}, plain: sha256.New()}
	var err error
	switch {
	case p.Estargz:
		z.toc = newEstargzWriter(&z.out, p.Level)
		z.in = z.toc
	case p.compression() == Gzip:
		z.in, err = newGzip(&z.out, p.Level)
	case p.compression() == Zstd:
		z.in, err = newZstd(&z.out, p.Level)
	default:
		z.in = nopCloser{&z.out}
	}
	if err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "compression %s: %w", p, err)
	}
	return z, nil
}

// The size of the pieces that gzip and zstd pack at the same time. It shows in
// the bytes, so it must not depend on the machine.
const gzipBlock = 1 << 20

func newGzip(w io.Writer, level int) (io.WriteCloser, error) {
	if level == 0 {
		level = pgzip.DefaultCompression
	}
	z, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	z.ModTime = time.Unix(0, 0) // the zero time would be written as some other
	return z, z.SetConcurrency(gzipBlock, workers())
}

// zstdWindow is a quarter of what one core packs at a time: a larger one packs
// a little better and needs much more memory.
const zstdWindow = 1 << 20

func newZstd(w io.Writer, level int) (io.WriteCloser, error) {
	if level == 0 {
		level = 3
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithWindowSize(zstdWindow),
		zstd.WithEncoderConcurrency(min(workers(), 4)), zstd.WithConcurrentBlocks(true), zstd.WithZeroFrames(true))
}

// workers is at least 2, because zstd packs in one piece with 1, and at most
// what keeps memory in bounds.
func workers() int { return min(max(runtime.GOMAXPROCS(0), 2), 8) }

func (z *Writer) Write(p []byte) (int, error) {
	n, err := z.in.Write(p)
	if z.toc == nil {
		z.plain.Write(p[:n])
	}
	z.n += int64(n)
	return n, err
}

// Close writes what is left.
func (z *Writer) Close() error {
	if err := z.in.Close(); err != nil {
		return err
	}
	z.packed = Packed{Digest: sum(z.out.h), Size: z.out.n, Plain: z.n}
	if z.toc == nil {
		z.packed.DiffID = sum(z.plain)
		return nil
	}
	z.packed.DiffID = z.toc.diffID
	z.packed.Annotations = map[string]string{AnnotationTOC: string(z.toc.digest), AnnotationPlainSize: strconv.FormatInt(z.toc.gz.n, 10)}
	return nil
}

// Packed tells what was written.
func (z *Writer) Packed() Packed { return z.packed }

// abort lets go of what Close would, without an end. What is written then is
// of no use.
func (z *Writer) abort() {
	if z.toc != nil {
		_ = z.toc.end(io.ErrClosedPipe)
		return
	}
	_ = z.in.Close()
}

// Pack packs a whole tar. On errors what was written to w is of no use.
func Pack(w io.Writer, tar io.Reader, p Packing) (Packed, error) {
	z, err := p.NewWriter(w)
	if err != nil {
		return Packed{}, err
	}
	if _, err := io.CopyBuffer(onlyWriter{z}, tar, make([]byte, 256<<10)); err != nil {
		z.abort()
		return Packed{}, err
	}
	err = z.Close()
	return z.packed, err
}

type onlyWriter struct{ io.Writer }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// counter hashes and counts what goes through.
type counter struct {
	w io.Writer
	h hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.h.Write(p[:n])
	c.n += int64(n)
	return n, err
}

func sum(h hash.Hash) oci.Digest { return digest.NewDigest(digest.SHA256, h) }
