// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/oci"
)

// An outline as a file is a line that names the format, a line of JSON, the
// entries packed with zstd, and the sha256 digest of all that comes before.
// Numbers of entries are varints, texts have their length before them:
//
//	type of the tar entry, a byte; name; link (of links)
//	size; 1 and the content's digest, or 0 (of files)
//	mode, user, group, seconds, nanoseconds
//	user's name, group's name
//	major, minor (of devices)
//	number of records; key and value of each, in the order of the keys
const outlineMagic = "dray outline 1\n"

// Bounds of an outline. They are far above those of real layers.
const (
	maxOutline       = 256 << 20 // bytes, packed
	maxOutlinePlain  = 1 << 30
	maxOutlineLine   = 1 << 10
	outlineWindow    = 1 << 20 // of zstd
	perRecord        = 5       // bytes that a record of a header has beside key and value
	perOutlinedEntry = 8       // bytes that an entry has at least
)

// outlineLine is the second line.
type outlineLine struct {
	Layer     oci.Digest `json:"layer"`
	Table     oci.Digest `json:"table,omitempty"`
	DiffID    oci.Digest `json:"diffID,omitempty"`
	PlainSize int64      `json:"plainSize"`
	Entries   int        `json:"entries"`
}

// outlineWriter packs entries.
type outlineWriter struct {
	out   bytes.Buffer
	z     *zstd.Encoder
	plain int64
	count int
	buf   []byte
}

func newOutlineWriter() (*outlineWriter, error) {
	w := &outlineWriter{}
	var err error
	w.z, err = zstd.NewWriter(&w.out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(outlineWindow), zstd.WithLowerEncoderMem(true))
	return w, err
}

func (w *outlineWriter) add(e *Entry, content *checksum) error {
	h := e.Header
	b := append(w.buf[:0], h.Typeflag)
	b = appendText(b, h.Name)
	switch h.Typeflag {
	case tar.TypeSymlink, tar.TypeLink:
		b = appendText(b, h.Linkname)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		b[0] = tar.TypeReg
		b = binary.AppendVarint(b, h.Size)
		if content == nil {
			b = append(b, 0)
		} else {
			b = append(append(b, 1), content[:]...)
		}
	}
	for _, n := range []int64{h.Mode, int64(h.Uid), int64(h.Gid), h.ModTime.Unix(), int64(h.ModTime.Nanosecond())} {
		b = binary.AppendVarint(b, n)
	}
	b = appendText(appendText(b, h.Uname), h.Gname)
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		b = binary.AppendVarint(binary.AppendVarint(b, h.Devmajor), h.Devminor)
	}
	keys := slices.Sorted(maps.Keys(h.PAXRecords))
	keys = slices.DeleteFunc(keys, func(k string) bool { return !keeps(k) })
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = appendText(appendText(b, k), h.PAXRecords[k])
	}
	w.count++
	w.plain += int64(len(b))
	if w.buf = b; w.plain > maxOutlinePlain || w.out.Len() > maxOutline {
		return oci.Errorf(oci.ErrInvalid, "names and attributes of more than %d bytes", maxOutlinePlain)
	}
	_, err := w.z.Write(b)
	return err
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// outline gives o the entries that were added.
func (w *outlineWriter) outline(o Outline) (*Outline, error) {
	if err := w.z.Close(); err != nil {
		return nil, err
	}
	o.Len, o.packed = w.count, bytes.Clone(w.out.Bytes())
	return &o, nil
}

// write writes the file.
func (o *Outline) write(w io.Writer) error {
	line, err := json.Marshal(outlineLine{o.Layer, o.Table, o.DiffID, o.PlainSize, o.Len})
	if err != nil {
		return err
	}
	h := sha256.New()
	out := io.MultiWriter(w, h)
	for _, b := range [][]byte{[]byte(outlineMagic), line, []byte("\n"), o.packed} {
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	_, err = w.Write(h.Sum(nil))
	return err
}

// parseOutline checks a file and all of its entries. raw must not be changed
// afterwards. ErrInvalid if anything is wrong.
func parseOutline(raw []byte, l Limits) (*Outline, error) {
	cut := len(raw) - sha256.Size
	if cut < 0 || len(raw) > maxOutline+maxOutlineLine {
		return nil, oci.Errorf(oci.ErrInvalid, "an outline of %d bytes", len(raw))
	}
	if got := sha256.Sum256(raw[:cut]); string(got[:]) != string(raw[cut:]) {
		return nil, oci.Errorf(oci.ErrInvalid, "an outline that has been changed")
	}
	rest, ok := bytes.CutPrefix(raw[:cut:cut], []byte(outlineMagic))
	text, _, found := bytes.Cut(rest[:min(len(rest), maxOutlineLine)], []byte("\n"))
	if !ok || !found {
		return nil, oci.Errorf(oci.ErrInvalid, "not an outline of this version")
	}
	packed := rest[len(text)+1:]
	var line outlineLine
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "outline: %w", err)
	}
	if again, err := json.Marshal(line); err != nil || !bytes.Equal(again, text) || !line.sound() {
		return nil, oci.Errorf(oci.ErrInvalid, "an outline of %s that makes no sense", oci.Quote(string(line.Layer)))
	}
	o := &Outline{Layer: line.Layer, Table: line.Table, DiffID: line.DiffID, PlainSize: line.PlainSize, Len: line.Entries, packed: packed}
	n := 0
	for _, err := range o.read(l.defaults()) {
		if err != nil {
			return nil, err
		}
		n++
	}
	if n != o.Len {
		return nil, oci.Errorf(oci.ErrInvalid, "an outline of %d entries with %d", o.Len, n)
	}
	return o, nil
}

func (o outlineLine) sound() bool {
	digests := []oci.Digest{o.Layer, o.DiffID}
	if o.Table != "" {
		digests[1] = o.Table
	}
	for _, d := range digests {
		if _, err := oci.ParseDigest(string(d)); err != nil {
			return false
		}
	}
	return (o.DiffID == "") == (o.Table != "") && o.PlainSize >= 0 && (o.Table == "" || o.PlainSize == 0) && o.Entries >= 0
}
