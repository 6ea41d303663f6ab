// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// tocFiles is a layer with an entry of each kind that a table can have.
func tocFiles() []tocFile {
	when := time.Unix(1_700_000_000, 0).UTC()
	h := func(name string, flag byte, link string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: flag, Linkname: link, Mode: 0o640, Uid: 7, Gid: 8, Uname: "u", Gname: "g", ModTime: when, Format: tar.FormatPAX}
	}
	dir, file, big := h("dir/", tar.TypeDir, ""), h("dir/file", tar.TypeReg, ""), h("dir/big", tar.TypeReg, "")
	dir.Mode = 0o2755
	file.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "\x00y"}
	dev := h("dev", tar.TypeChar, "")
	dev.Devmajor, dev.Devminor = 1, 3
	return []tocFile{{dir, nil}, {file, []byte("hello\n")}, {big, ocitest.Random(1, 300_000)}, {h("empty", tar.TypeReg, ""), nil},
		{h("dir/.wh.gone", tar.TypeReg, ""), nil}, {h("dir/.wh..wh..opq", tar.TypeReg, ""), nil}, {h("soft", tar.TypeSymlink, "/dir/../file"), nil},
		{h("hard", tar.TypeLink, "dir/file"), nil}, {dev, nil}, {h("fifo", tar.TypeFifo, ""), nil}, {h("last", tar.TypeReg, ""), bytes.Repeat([]byte("last "), 20_000)}}
}

type tocFile struct {
	h    *tar.Header
	body []byte
}

func plainTar(t testing.TB, files []tocFile) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := *f.h
		h.Size = int64(len(f.body))
		if err := errors.Join(w.WriteHeader(&h), discardN(w.Write(f.body))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func discardN(_ int, err error) error { return err }

// stargz packs a tar with the estargz module's writer.
func stargz(t testing.TB, plain []byte, chunk, least int) memLayer {
	t.Helper()
	var out bytes.Buffer
	w := estargz.NewWriter(&out)
	w.ChunkSize, w.MinChunkSize = chunk, least
	if err := w.AppendTar(bytes.NewReader(plain)); err != nil {
		t.Fatal(err)
	}
	toc, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return newMemLayer(out.Bytes(), map[string]string{estargz.TOCJSONDigestAnnotation: string(toc)})
}

// wire is what the tests write into tables.
type wire struct {
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	LinkName    string            `json:"linkName,omitempty"`
	Mode        int64             `json:"mode,omitempty"`
	Size        int64             `json:"size,omitempty"`
	UID         int               `json:"uid,omitempty"`
	GID         int               `json:"gid,omitempty"`
	ModTime     *time.Time        `json:"modtime,omitempty"`
	DevMajor    int64             `json:"devMajor,omitempty"`
	DevMinor    int64             `json:"devMinor,omitempty"`
	Xattrs      map[string][]byte `json:"xattrs,omitempty"`
	Digest      string            `json:"digest,omitempty"`
	Offset      int64             `json:"offset,omitempty"`
	EndOffset   int64             `json:"endOffset,omitempty"`
	ChunkSize   int64             `json:"chunkSize,omitempty"`
	ChunkOffset int64             `json:"chunkOffset,omitempty"`
	ChunkDigest string            `json:"chunkDigest,omitempty"`
}

var wireType = map[byte]string{tar.TypeReg: "reg", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hardlink",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo"}

var encoder = sync.OnceValue(func() *zstd.Encoder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return enc
})

// chunked packs files as zstd:chunked: each chunk of each file a frame, tar
// headers and padding frames between them, and the table in a skippable frame.
func chunked(t testing.TB, files []tocFile, chunk int) memLayer {
	t.Helper()
	var out bytes.Buffer
	frame := func(b []byte) int64 {
		at := int64(out.Len())
		out.Write(encoder().EncodeAll(b, nil))
		return at
	}
	var entries []wire
	for _, f := range files {
		one := plainTar(t, []tocFile{f})
		one = one[:len(one)-1024] // without the end marker
		padded := (len(f.body) + 511) / 512 * 512
		frame(one[:len(one)-padded])
		when := f.h.ModTime
		w := wire{Type: wireType[f.h.Typeflag], Name: f.h.Name, LinkName: f.h.Linkname, Mode: f.h.Mode, Size: int64(len(f.body)), UID: f.h.Uid, GID: f.h.Gid,
			ModTime: &when, DevMajor: f.h.Devmajor, DevMinor: f.h.Devminor}
		if v, ok := f.h.PAXRecords["SCHILY.xattr.user.x"]; ok {
			w.Xattrs = map[string][]byte{"user.x": []byte(v)}
		}
		list := []wire{w}
		for at := 0; at < len(f.body); at += chunk {
			part := f.body[at:min(at+chunk, len(f.body))]
			if at > 0 {
				list = append(list, wire{Type: "chunk", Name: f.h.Name})
			}
			c := &list[len(list)-1]
			c.Offset, c.ChunkOffset = frame(part), int64(at)
			if len(f.body) > chunk {
				c.ChunkSize, c.ChunkDigest = int64(len(part)), string(oci.FromBytes(part))
			}
		}
		if len(f.body) > 0 {
			list[0].Digest, list[0].EndOffset = string(oci.FromBytes(f.body)), int64(out.Len())
			frame(make([]byte, padded-len(f.body)))
		}
		entries = append(entries, list...)
	}
	frame(make([]byte, 1024))
	raw, err := json.Marshal(map[string]any{"version": 1, "entries": entries})
	if err != nil {
		t.Fatal(err)
	}
	return withTable(out.Bytes(), raw)
}

// withTable puts a zstd:chunked table behind frames.
func withTable(frames, table []byte) memLayer {
	packed := encoder().EncodeAll(table, nil)
	at := len(frames) + 8
	blob := append(bytes.Clone(frames), 0x50, 0x2a, 0x4d, 0x18, byte(len(packed)), byte(len(packed)>>8), byte(len(packed)>>16), 0)
	blob = append(blob, packed...)
	return newMemLayer(blob, map[string]string{
		"io.github.containers.zstd-chunked.manifest-checksum": string(oci.FromBytes(packed)),
		"io.github.containers.zstd-chunked.manifest-position": fmt.Sprintf("%d:%d:%d:1", at, len(packed), len(table)),
	})
}

// memLayer is a layer in memory that counts what is read of it.
type memLayer struct {
	oci.RangeBlob
	d     oci.Descriptor
	raw   []byte
	reads *[][2]int64 // ranges that were asked for
}

func newMemLayer(raw []byte, notes map[string]string) memLayer {
	b := oci.Bytes(oci.MediaLayerGzip, raw).(oci.RangeBlob)
	d := b.Descriptor()
	d.Annotations = notes
	return memLayer{b, d, raw, new([][2]int64)}
}

func (m memLayer) Descriptor() oci.Descriptor { return m.d }

func (m memLayer) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	*m.reads = append(*m.reads, [2]int64{offset, length})
	return m.RangeBlob.OpenRange(ctx, offset, length)
}

func (m memLayer) bytes() (n int64) {
	for _, r := range *m.reads {
		n += r[1]
	}
	return n
}

// tocForms are the ways to pack that have a table.
func tocForms(t testing.TB) map[string]memLayer {
	files := tocFiles()
	plain := plainTar(t, files)
	return map[string]memLayer{
		"estargz":        stargz(t, plain, 0, 0),
		"estargz chunks": stargz(t, plain, 70_000, 0),
		"estargz shared": stargz(t, plain, 0, 1<<20),
		"zstd":           chunked(t, files, 1<<30),
		"zstd chunks":    chunked(t, files, 40_000),
	}
}
