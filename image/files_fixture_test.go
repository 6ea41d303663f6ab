// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
)

// counting is a source in memory that counts what is read of each blob.
type counting struct {
	blobs map[oci.Digest][]byte
	mu    sync.Mutex
	opens map[oci.Digest]int   // whole
	bytes map[oci.Digest]int64 // that were handed out
}

func (c *counting) Resolve(context.Context, string) (oci.Descriptor, error) {
	return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "no names")
}

func (c *counting) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) { return d, nil }

func (c *counting) Open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	c.mu.Lock()
	c.opens[d.Digest]++
	c.mu.Unlock()
	return oci.Verify(c.reader(d, 0, -1), d), nil
}

func (c *counting) OpenRange(_ context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	return c.reader(d, offset, length), nil
}

func (c *counting) reader(d oci.Descriptor, offset, length int64) io.ReadCloser {
	raw := c.blobs[d.Digest]
	b := oci.Section(bytes.NewReader(raw), int64(len(raw)), offset, length)
	return readFunc(func(p []byte) (int, error) {
		n, err := b.Read(p)
		c.mu.Lock()
		c.bytes[d.Digest] += int64(n)
		c.mu.Unlock()
		return n, err
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
func (f readFunc) Close() error               { return nil }

func (c *counting) put(mediaType string, raw []byte) oci.Descriptor {
	d := oci.Bytes(mediaType, raw).Descriptor()
	c.blobs[d.Digest] = raw
	return d
}

// whole lists the layers that were read whole, and how often.
func (c *counting) whole(i *image.Image) []int {
	out := make([]int, len(i.Manifest.Layers))
	for n, d := range i.Manifest.Layers {
		out[n] = c.opens[d.Digest]
	}
	return out
}

// picture makes an image of layers, each a text with an entry a line:
//
//	dir/            a directory
//	file=content
//	link->target
//	hard=>file
//
// A layer that begins with "toc" becomes eStargz.
func picture(t testing.TB, layers ...string) (*counting, *image.Image) {
	t.Helper()
	c := &counting{blobs: map[oci.Digest][]byte{}, opens: map[oci.Digest]int{}, bytes: map[oci.Digest]int64{}}
	cfg := v1.Image{Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"}}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest}
	for _, text := range layers {
		text, toc := strings.CutPrefix(text, "toc")
		plain := tarOf(t, text)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, oci.FromBytes(plain))
		if !toc {
			m.Layers = append(m.Layers, c.put(oci.MediaLayer, plain))
			continue
		}
		var out bytes.Buffer
		w := estargz.NewWriter(&out)
		if err := w.AppendTar(bytes.NewReader(plain)); err != nil {
			t.Fatal(err)
		}
		digest, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		d := c.put(oci.MediaLayerGzip, out.Bytes())
		d.Annotations = map[string]string{estargz.TOCJSONDigestAnnotation: string(digest)}
		m.Layers = append(m.Layers, d)
	}
	m.Config = c.put(oci.MediaConfig, marshal(cfg))
	i, err := image.Read(t.Context(), c, c.put(oci.MediaManifest, marshal(m)))
	if err != nil {
		t.Fatal(err)
	}
	return c, i
}

func marshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func tarOf(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for line := range strings.FieldsSeq(text) {
		h := &tar.Header{Name: line, Typeflag: tar.TypeReg, Mode: 0o644}
		body := ""
		if name, to, ok := strings.Cut(line, "->"); ok {
			h.Name, h.Linkname, h.Typeflag = name, to, tar.TypeSymlink
		} else if name, to, ok := strings.Cut(line, "=>"); ok {
			h.Name, h.Linkname, h.Typeflag = name, to, tar.TypeLink
		} else if name, text, ok := strings.Cut(line, "="); ok {
			h.Name, body, h.Size = name, text, int64(len(text))
		} else if strings.HasSuffix(line, "/") {
			h.Typeflag = tar.TypeDir
		} else if line == "null" {
			h.Typeflag = tar.TypeChar
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(t testing.TB, f *image.Files, name string) (string, error) {
	t.Helper()
	rc, n, err := f.Open(t.Context(), name)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err == nil && int64(len(raw)) != n.Size {
		t.Errorf("%s: node of %d bytes, content of %d", name, n.Size, len(raw))
	}
	return string(raw), err
}
