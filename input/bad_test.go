// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// refused makes a layer that must not come about, of a file and of a stream.
func refused(t *testing.T, o input.Options, raw []byte, kind error) {
	t.Helper()
	for _, in := range []*input.Input{input.File(inFile(t, raw)), input.Stream("standard input", bytes.NewReader(raw))} {
		o.CacheDir = t.TempDir()
		_, err := maker(t, o).Layer(t.Context(), in, input.Onto{Ground: merged}, nil)
		if !errors.Is(err, kind) || !strings.HasPrefix(err.Error(), in.Name()+": ") {
			t.Errorf("got %v, want %v of %s", err, kind, in.Name())
		}
		if left, _ := os.ReadDir(o.CacheDir); len(left) > 0 {
			t.Errorf("%s: something is remembered", in.Name())
		}
	}
}

func TestNoTar(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), entry{"large", ocitest.Random(1, 100_000)})
	gz, zs, xz := packed(t, layer.Gzip, raw), packed(t, layer.Zstd, raw), packed(t, layer.XZ, raw)
	for name, raw := range map[string][]byte{
		"empty":          nil,
		"gzip of empty":  packed(t, layer.Gzip, nil),
		"text":           []byte(strings.Repeat("this is no tar\n", 100)),
		"short text":     []byte("x"),
		"random":         ocitest.Random(2, 100_000),
		"packed twice":   packed(t, layer.Gzip, gz),
		"gzip in zstd":   packed(t, layer.Zstd, gz),
		"damaged header": append([]byte("?"), raw[1:]...),
		"damaged gzip":   append(bytes.Clone(gz[:50_000]), append([]byte("????"), gz[50_004:]...)...),
		"half a bzip2":   packed(t, layer.Bzip2, nil)[:60],
		"gzip and more":  append(bytes.Clone(gz), "and more"...),
		"zstd and more":  append(bytes.Clone(zs), "and more"...),
		"half an xz":     xz[:len(xz)/2],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, input.Options{}, raw, oci.ErrInvalid)
			refused(t, input.Options{Repack: true, Packing: layer.Packing{Estargz: true}}, raw, oci.ErrInvalid)
		})
	}
}

func TestNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := maker(t, input.Options{})
	path := filepath.Join(dir, "none.tar")
	for _, in := range []*input.Input{input.File(path), input.Dir(path, "/app", layer.CreateOptions{})} {
		_, err := m.Layer(t.Context(), in, input.Onto{}, nil)
		if !errors.Is(err, os.ErrNotExist) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("got %v", err)
		}
	}
	if _, err := m.Layer(t.Context(), input.File(dir), input.Onto{}, nil); !errors.Is(err, oci.ErrInvalid) || !strings.HasPrefix(err.Error(), dir) {
		t.Errorf("directory as a tar: %v", err)
	}
	if _, err := maker(t, input.Options{Packing: layer.Packing{Compression: layer.XZ}}).Layer(t.Context(), input.File(path), input.Onto{}, nil); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("packing with xz: %v", err)
	}
	gone := filepath.Join(dir, "temp")
	in := input.Stream("stdin", bytes.NewReader(makeTar(t, text("app"))))
	if _, err := input.New(input.Options{TempDir: gone}).Layer(t.Context(), in, input.Onto{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no place for files: %v", err)
	}
}

// A stream that comes packed is not packed again: crane does that, and makes a
// layer that nobody can read.
func TestBadCrane_StreamPackedTwice(t *testing.T) {
	t.Parallel()
	for _, c := range []layer.Compression{layer.Gzip, layer.Zstd} {
		raw := packed(t, c, makeTar(t, text("app")))
		l := made(t, maker(t, input.Options{}), input.Stream("stdin", bytes.NewReader(raw)), input.Onto{})
		if !bytes.Equal(content(t, l), raw) {
			t.Errorf("%s has changed", c)
		}
		unpacked(t, l)
	}
}

func TestBad_025_NameSaysOtherwise(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.tar.gz")
	if err := os.WriteFile(path, makeTar(t, text("app")), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := made(t, maker(t, input.Options{}), input.File(path), input.Onto{}); names(t, unpacked(t, l)) != "app" {
		t.Error("not what was in it")
	}
}

func TestBad_063_WhiteoutInFiles(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), text(".wh.etc"))
	refused(t, input.Options{}, raw, oci.ErrInvalid)
	refused(t, input.Options{}, packed(t, layer.Gzip, raw), oci.ErrInvalid)
	l := made(t, maker(t, input.Options{Exact: true}), input.File(inFile(t, raw)), input.Onto{Ground: merged})
	if got := unpacked(t, l); !bytes.Equal(got, raw) {
		t.Error("a layer was changed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".wh.etc"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, exact := range []bool{false, true} {
		_, err := maker(t, input.Options{Exact: exact}).Layer(t.Context(), input.Dir(dir, "/", layer.CreateOptions{}), input.Onto{}, nil)
		if !errors.Is(err, oci.ErrInvalid) || !strings.HasPrefix(err.Error(), dir) {
			t.Errorf("directory: %v", err)
		}
	}
}

func TestBad_070_Bomb(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, entry{"zeros", make([]byte, 4<<20)})
	for _, c := range []layer.Compression{layer.None, layer.Gzip, layer.Zstd, layer.XZ} {
		refused(t, input.Options{MaxBytes: 1 << 20}, packed(t, c, raw), oci.ErrInvalid)
	}
}

// endless is zeros without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBad_070_EndlessStream(t *testing.T) {
	t.Parallel()
	in := input.Stream("zeros", endless{})
	if _, err := maker(t, input.Options{MaxBytes: 4 << 20}).Layer(t.Context(), in, input.Onto{}, nil); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestBad_075_CutAnywhere(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), entry{"large", ocitest.Random(1, 70_000)})
	for _, c := range []layer.Compression{layer.None, layer.Gzip, layer.Zstd} {
		whole := packed(t, c, raw)
		for _, n := range []int{1, 5, 300, 700, 40_000, 70_000} {
			refused(t, input.Options{}, whole[:n], oci.ErrInvalid)
		}
	}
}

// A file that is changed while a layer is made of it, or before it is sent.
func TestBad_089_ChangedFile(t *testing.T) {
	t.Parallel()
	for _, c := range []layer.Compression{layer.None, layer.Gzip} {
		raw := packed(t, c, makeTar(t, text("app"), entry{"large", ocitest.Random(1, 500_000)}))
		path := inFile(t, raw)
		grow := func() {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if _, err := f.Write(make([]byte, 512)); err != nil {
				t.Error(err)
			}
		}
		once := true
		o := input.Options{Progress: func(_ *input.Input, n int) {
			if n > 0 && once {
				once = false
				grow()
			}
		}}
		in := input.File(path)
		if _, err := maker(t, o).Layer(t.Context(), in, input.Onto{}, nil); !errors.Is(err, oci.ErrBusy) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: while it is read: %v", c, err)
		}
		if c == layer.None {
			continue
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		l := made(t, maker(t, input.Options{}), in, input.Onto{})
		grow()
		if _, err := l.Open(t.Context()); !errors.Is(err, oci.ErrBusy) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: before it is sent: %v", c, err)
		}
	}
}

// A directory that is changed between two readings.
func TestBad_089_ChangedDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(s string) {
		if err := os.WriteFile(filepath.Join(dir, "app"), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	m := maker(t, input.Options{})
	in := input.Dir(dir, "lib", layer.CreateOptions{})
	made(t, m, in, input.Onto{Ground: ground{}})
	write("two")
	if _, err := m.Layer(t.Context(), in, input.Onto{Ground: merged}, nil); !errors.Is(err, oci.ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestBad_089_Unreadable(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("root can read everything")
	}
	path := inFile(t, makeTar(t, text("app")))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := maker(t, input.Options{}).Layer(t.Context(), input.File(path), input.Onto{}, nil); !errors.Is(err, os.ErrPermission) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("got %v", err)
	}
}

var errBroken = errors.New("the pipe broke")

func TestStreamThatBreaks(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, entry{"large", ocitest.Random(1, 500_000)})
	in := input.Stream("stdin", io.MultiReader(bytes.NewReader(raw[:300_000]), &failing{}))
	m := maker(t, input.Options{})
	for range 2 { // it stays broken
		if _, err := m.Layer(t.Context(), in, input.Onto{}, nil); !errors.Is(err, errBroken) || errors.Is(err, oci.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errBroken }

// stalled yields something and then nothing, until it is let go.
type stalled struct {
	head io.Reader
	wait chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if n, err := s.head.Read(p); err == nil {
		return n, nil
	}
	<-s.wait
	return 0, io.ErrUnexpectedEOF
}

// An end of the context ends a layer at once, and leaves nothing that runs.
func TestCancelled(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, entry{"large", ocitest.Random(1, 10<<20)})
	synctest.Test(t, func(t *testing.T) {
		in := &stalled{bytes.NewReader(raw[:9<<20]), make(chan struct{})}
		m := maker(t, input.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		sink := &sink{}
		if _, err := m.Layer(ctx, input.Stream("stdin", in), input.Onto{}, sink); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := sink.ended(); !errors.Is(err, context.Canceled) {
			t.Errorf("the upload ended with %v", err)
		}
		close(in.wait)
		synctest.Wait()
	})
}
