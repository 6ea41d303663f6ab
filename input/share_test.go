// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// Eight bases that answer in two ways: two layers, whatever comes first.
func TestEachOnce(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), text("lib/x"))
	for name, in := range map[string]*input.Input{
		"file":   input.File(inFile(t, raw)),
		"stream": input.Stream("stdin", bytes.NewReader(raw)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c counter
			m := maker(t, input.Options{Progress: c.progress})
			var layers [8]*input.Layer
			err := oci.Parallel(t.Context(), len(layers), func(ctx context.Context, i int) (err error) {
				layers[i], err = m.Layer(ctx, in, input.Onto{Ground: []layer.Ground{ground{}, merged}[i%2]}, nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range layers {
				if l != layers[i%2] {
					t.Errorf("layer %d was made again", i)
				}
			}
			if layers[0].DiffID == layers[1].DiffID || c.begun() != 2 {
				t.Errorf("%d readings", c.begun())
			}
			for _, l := range layers[:2] {
				unpacked(t, l)
			}
		})
	}
}

// Five Windows bases need the layer once, and it is sent once.
func TestWindowsBasesShare(t *testing.T) {
	t.Parallel()
	var c counter
	m := maker(t, input.Options{Progress: c.progress})
	in := input.File(inFile(t, large(t)))
	s := &sink{}
	err := oci.Parallel(t.Context(), 5, func(ctx context.Context, i int) error {
		_, err := m.Layer(ctx, in, input.Onto{Windows: true, Ground: ground{"app": {Path: string(rune('a' + i))}}}, s)
		return err
	})
	if err != nil || c.begun() != 1 || s.calls != 1 {
		t.Errorf("%d readings, %d uploads, %v", c.begun(), s.calls, err)
	}
}

var errGround = errors.New("the base cannot be read")

type noGround struct{}

func (noGround) Dir(context.Context, string) (layer.Place, error) { return layer.Place{}, errGround }

func TestBaseThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := maker(t, input.Options{})
	in := input.File(inFile(t, makeTar(t, text("lib/x"))))
	for range 2 {
		if _, err := m.Layer(t.Context(), in, input.Onto{Ground: noGround{}}, nil); !errors.Is(err, errGround) {
			t.Errorf("got %v", err)
		}
		made(t, m, in, input.Onto{Ground: merged}) // its questions are asked now
	}
}

// One who waits for another's work ends with its own context, and the work goes
// on.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	begun, over := make(chan struct{}), make(chan struct{})
	raw := makeTar(t, text("app"))
	in := input.Stream("stdin", io.MultiReader(bytes.NewReader(raw[:512]), &signal{begun, over}, bytes.NewReader(raw[512:])))
	m := maker(t, input.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := m.Layer(t.Context(), in, input.Onto{}, nil); err != nil {
			t.Error(err)
		}
	})
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Layer(ctx, in, input.Onto{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(over)
	wg.Wait()
}

// When the one who works gives up, another one who waits goes on.
func TestWorkIsTakenOver(t *testing.T) {
	t.Parallel()
	begun, over := make(chan struct{}), make(chan struct{})
	raw := makeTar(t, text("app"))
	in := input.Stream("stdin", io.MultiReader(bytes.NewReader(raw[:512]), &signal{begun, over}, bytes.NewReader(raw[512:])))
	m := maker(t, input.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := m.Layer(ctx, in, input.Onto{}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	<-begun
	cancel()
	wg.Go(func() { unpacked(t, made(t, m, in, input.Onto{})) })
	close(over)
	wg.Wait()
}

// A signal says that it is read, and waits.
type signal struct{ begun, over chan struct{} }

func (s *signal) Read([]byte) (int, error) {
	close(s.begun)
	<-s.over
	return 0, io.EOF
}

func TestDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"app.jar", "sub/conf"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	jar := filepath.Join(dir, "app.jar")
	tests := []struct {
		src, dest string
		onto      input.Onto
		want      string
	}{
		{dir, "", input.Onto{}, "app.jar sub sub/conf"},
		{dir, "/", input.Onto{}, "app.jar sub sub/conf"},
		{dir, "/srv/app", input.Onto{}, "srv/app srv/app/app.jar srv/app/sub srv/app/sub/conf"},
		{dir, "/srv/app/", input.Onto{Ground: ground{}}, "srv srv/app srv/app/app.jar srv/app/sub srv/app/sub/conf"},
		{dir, "lib", input.Onto{Ground: merged}, "usr/lib/app.jar usr/lib/sub usr/lib/sub/conf"},
		{jar, "/srv/my.jar", input.Onto{}, "srv/my.jar"},
		{jar, "/srv/", input.Onto{}, "srv/app.jar"},
		{jar, "/lib", input.Onto{Ground: merged}, "usr/lib/app.jar"}, // a directory of the base, as for cp
		{jar, "/usr", input.Onto{Ground: merged}, "usr/app.jar"},
		{jar, "/usr/x", input.Onto{Ground: merged}, "usr/x"},
		{jar, "/", input.Onto{}, "app.jar"},
		{jar, `C:\srv\`, input.Onto{Windows: true}, "Files Hives Files/srv Files/srv/app.jar"},
		{dir, "C:/srv", input.Onto{Windows: true}, "Files Hives Files/srv Files/srv/app.jar Files/srv/sub Files/srv/sub/conf"},
	}
	for _, tt := range tests {
		for _, exact := range []bool{false, true} { // which is about tars
			l := made(t, maker(t, input.Options{Exact: exact}), input.Dir(tt.src, tt.dest, layer.CreateOptions{}), tt.onto)
			if got := names(t, unpacked(t, l)); got != tt.want {
				t.Errorf("%s at %s: got %s, want %s", tt.src, tt.dest, got, tt.want)
			}
		}
	}
}

// A blobCounter counts how often a blob is opened.
type blobCounter struct {
	oci.Blob
	opened int
}

func (b *blobCounter) Open(ctx context.Context) (io.ReadCloser, error) {
	b.opened++
	return b.Blob.Open(ctx)
}

func TestBlob(t *testing.T) {
	t.Parallel()
	plain := makeTar(t, text(".wh.gone"), text("lib/x"))
	gz := packed(t, layer.Gzip, plain)
	tests := []struct {
		name, comes, want string
		raw               []byte
		kind              error
	}{
		{"OCI", oci.MediaLayerGzip, oci.MediaLayerGzip, gz, nil},
		{"Docker", oci.MediaDockerLayer, oci.MediaLayerGzip, gz, nil},
		{"no layer's type", "application/octet-stream", oci.MediaLayerGzip, gz, nil},
		{"plain", "", oci.MediaLayer, plain, nil},
		{"xz", "", "", packed(t, layer.XZ, plain), oci.ErrUnsupported},
		{"no layer", oci.MediaLayerGzip, "", []byte("some text"), oci.ErrInvalid},
		{"empty", oci.MediaLayerGzip, "", nil, oci.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := input.Options{CacheDir: t.TempDir(), Repack: true, Packing: layer.Packing{Compression: layer.Zstd}}
			b := &blobCounter{Blob: oci.Bytes(tt.comes, tt.raw)}
			l, err := maker(t, o).Layer(t.Context(), input.Blob(b), input.Onto{Ground: merged, Windows: true}, nil)
			if !errors.Is(err, tt.kind) {
				t.Fatalf("got %v, want %v", err, tt.kind)
			}
			if err != nil {
				return
			}
			if got := l.Descriptor(); got.MediaType != tt.want || got.Digest != b.Descriptor().Digest || l.DiffID != oci.FromBytes(plain) {
				t.Errorf("got %+v of %s", got, l.DiffID)
			}
			opened := b.opened
			if again := made(t, maker(t, o), input.Blob(b), input.Onto{}); again.DiffID != l.DiffID || b.opened != opened {
				t.Errorf("diff ID %s, opened %d times more", again.DiffID, b.opened-opened)
			}
			if !bytes.Equal(content(t, l), tt.raw) {
				t.Error("other bytes")
			}
		})
	}
}

func TestBlobThatIsCorrupt(t *testing.T) {
	t.Parallel()
	raw := packed(t, layer.Gzip, makeTar(t, text("app")))
	b := oci.Bytes(oci.MediaLayerGzip, raw, oci.FromBytes([]byte("something else")))
	if _, err := maker(t, input.Options{}).Layer(t.Context(), input.Blob(b), input.Onto{}, nil); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestBad_072_BlobWithMoreBehindTheEnd(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"))
	b := oci.Bytes(oci.MediaLayer, append(bytes.Clone(raw), make([]byte, 4096)...), oci.FromBytes(raw))
	if _, err := maker(t, input.Options{}).Layer(t.Context(), input.Blob(b), input.Onto{}, nil); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// Layers can be read in their middle, however they came about.
func TestRanges(t *testing.T) {
	t.Parallel()
	plain := makeTar(t, entry{"large", ocitest.Random(1, 10_000)})
	cache := t.TempDir()
	for _, c := range []layer.Compression{layer.None, layer.Gzip} {
		raw := packed(t, c, plain)
		for range 2 { // the second time it is remembered
			for _, in := range []*input.Input{input.File(inFile(t, raw)), input.Stream("stdin", bytes.NewReader(raw)), input.Blob(oci.Bytes(oci.MediaLayer, raw))} {
				l := made(t, maker(t, input.Options{CacheDir: cache}), in, input.Onto{})
				all := content(t, l)
				for _, r := range [][2]int64{{0, 10}, {5000, 100}, {5000, -1}, {0, -1}} {
					rc, err := l.OpenRange(t.Context(), r[0], r[1])
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(rc)
					rc.Close()
					want := all[r[0]:]
					if r[1] >= 0 {
						want = want[:r[1]]
					}
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s from %d, %d bytes: got %d, %v", in.Name(), r[0], r[1], len(got), err)
					}
				}
			}
		}
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	m := maker(t, input.Options{})
	in := input.File(inFile(t, makeTar(t, text("app"))))
	l := made(t, m, in, input.Onto{})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Layer(t.Context(), in, input.Onto{}, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("layer after close: %v", err)
	}
	rc, err := l.Open(t.Context())
	if err == nil {
		_, err = io.ReadAll(rc)
	}
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("open after close: %v", err)
	}
}
