// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// An entry of a test's tar: "dir/" is a directory, "a -> b" a link.
type entry struct {
	name string
	body []byte
}

func text(name string) entry { return entry{name, []byte("text of " + name)} }

func makeTar(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.body)), ModTime: time.Unix(1_000_000, 0)}
		if from, to, ok := strings.Cut(e.name, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = from, to, tar.TypeSymlink, 0
		} else if strings.HasSuffix(e.name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(e.body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// bzipped is a tar with the file app.
const bzipped = "QlpoOTFBWSZTWc8wen0AAGz7gMmAAAJAAE8AAAJiRN4ACAggAFQ0hqGTQ9BppqCKmoGg0DQH1ZkIhW1ETLrSZTPHBBJBIpAxITaEj0SD4zgEZX0wVg7vUiID8XckU4UJDPMHp9A="

// packed is a tar in another form.
func packed(t testing.TB, c layer.Compression, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	switch c {
	case layer.Bzip2:
		b, err := base64.StdEncoding.DecodeString(bzipped)
		if err != nil {
			t.Fatal(err)
		}
		return b
	case layer.XZ:
		w, err := xz.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		if _, err := layer.Pack(&buf, bytes.NewReader(raw), layer.Packing{Compression: c, Level: map[layer.Compression]int{layer.Gzip: 1, layer.Zstd: 1}[c]}); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func inFile(t testing.TB, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.tar")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ground is what is below a layer; what it does not name is absent.
type ground map[string]layer.Place

func (g ground) Dir(_ context.Context, dir string) (layer.Place, error) {
	if p, ok := g[dir]; ok {
		return p, nil
	}
	if dir == "." {
		return layer.Place{Path: ".", There: layer.Present}, nil
	}
	return layer.Place{Path: dir, There: layer.Absent}, nil
}

// merged is a base whose lib is a link.
var merged = ground{"lib": {Path: "usr/lib", There: layer.Present}, "usr": {Path: "usr", There: layer.Present}, "usr/lib": {Path: "usr/lib", There: layer.Present}}

// A counter counts the beginnings of readings.
type counter struct {
	mu    sync.Mutex
	reads int
	bytes int
}

func (c *counter) progress(_ *input.Input, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 {
		c.reads++
	}
	c.bytes += n
}

func (c *counter) begun() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

func maker(t testing.TB, o input.Options) *input.Maker {
	t.Helper()
	if o.TempDir == "" {
		o.TempDir = t.TempDir()
	}
	m := input.New(o)
	dir := o.TempDir
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%d files are left behind", len(left))
		}
	})
	return m
}

// made makes a layer that must come about.
func made(t testing.TB, m *input.Maker, in *input.Input, onto input.Onto) *input.Layer {
	t.Helper()
	l, err := m.Layer(t.Context(), in, onto, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func content(t testing.TB, b oci.Blob) []byte {
	t.Helper()
	rc, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// unpacked is the tar of a layer, whose diff ID it checks.
func unpacked(t testing.TB, l *input.Layer) []byte {
	t.Helper()
	rc, err := layer.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	if got := oci.FromBytes(raw); got != l.DiffID {
		t.Errorf("diff ID is %s, want %s", l.DiffID, got)
	}
	return raw
}

func names(t testing.TB, raw []byte) string {
	t.Helper()
	var list []string
	for e, err := range layer.NewReader(bytes.NewReader(raw), layer.Limits{}).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Name)
	}
	return strings.Join(list, " ")
}
