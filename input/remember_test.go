// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// What one run has made, the next one only looks up: each time with another
// Maker, as another process would have.
func TestRemembered(t *testing.T) {
	t.Parallel()
	plain := makeTar(t, text("app"), text("lib/x"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	inputs := map[string]func() *input.Input{
		"plain":     func() *input.Input { return input.File(inFile(t, plain)) },
		"gzip":      func() *input.Input { return input.File(inFile(t, packed(t, layer.Gzip, plain))) },
		"xz":        func() *input.Input { return input.File(inFile(t, packed(t, layer.XZ, plain))) },
		"stream":    func() *input.Input { return input.Stream("stdin", bytes.NewReader(plain)) },
		"directory": func() *input.Input { return input.Dir(dir, "lib", layer.CreateOptions{}) },
	}
	for name, in := range inputs {
		for place, onto := range map[string]input.Onto{"nothing": {}, "merged": {Ground: merged}, "Windows": {Windows: true}} {
			t.Run(name+" on "+place, func(t *testing.T) {
				t.Parallel()
				o := input.Options{CacheDir: t.TempDir()}
				first := made(t, maker(t, o), in(), onto)
				var c counter
				o.Progress = c.progress
				again := made(t, maker(t, o), in(), onto)
				if c.begun() != 0 {
					t.Error("it was made again")
				}
				if again.DiffID != first.DiffID || again.Descriptor().Digest != first.Descriptor().Digest || again.Entries != first.Entries ||
					again.Descriptor().Size != first.Descriptor().Size || again.Descriptor().MediaType != first.Descriptor().MediaType {
					t.Errorf("%+v, was %+v", again, first)
				}
				if !bytes.Equal(content(t, again), content(t, first)) {
					t.Error("other bytes")
				}
			})
		}
	}
}

// Nothing is taken for the same that is not.
func TestNotRemembered(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), text("lib/x"))
	other := bytes.Replace(raw, []byte("text of app"), []byte("TEXT of app"), 1)
	onMerged := input.Onto{Ground: merged}
	tests := []struct {
		name string
		raw  []byte
		o    input.Options
		onto input.Onto
	}{
		{"another input of the same size", other, input.Options{}, onMerged},
		{"another base", raw, input.Options{}, input.Onto{Ground: ground{}}},
		{"no base", raw, input.Options{}, input.Onto{}},
		{"Windows", raw, input.Options{}, input.Onto{Windows: true}},
		{"exact", raw, input.Options{Exact: true}, onMerged},
		{"packed otherwise", raw, input.Options{Packing: layer.Packing{Compression: layer.Zstd}}, onMerged},
		{"another level", raw, input.Options{Packing: layer.Packing{Level: 9}}, onMerged},
		{"other times", raw, input.Options{Clamp: time.Unix(1, 0)}, onMerged},
		{"a fraction of a second", raw, input.Options{Clamp: time.Unix(0, 1)}, onMerged},
	}
	cache := t.TempDir()
	made(t, maker(t, input.Options{CacheDir: cache}), input.File(inFile(t, raw)), onMerged)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c counter
			tt.o.CacheDir, tt.o.Progress = cache, c.progress
			made(t, maker(t, tt.o), input.File(inFile(t, tt.raw)), tt.onto)
			if c.begun() != 1 {
				t.Errorf("read %d times, want 1", c.begun())
			}
		})
	}
	var c counter // all of them are remembered now
	made(t, maker(t, input.Options{CacheDir: cache, Progress: c.progress}), input.File(inFile(t, raw)), onMerged)
	if c.begun() != 0 {
		t.Error("the first one has been forgotten")
	}
}

// A stream that is longer than all that is remembered is not waited for.
func TestLongStreamIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	made(t, maker(t, input.Options{CacheDir: cache}), input.File(inFile(t, makeTar(t, text("app")))), input.Onto{})
	raw := large(t)
	begun := make(chan struct{})
	s := &sink{begun: func() { close(begun) }}
	in := input.Stream("stdin", &stalled{bytes.NewReader(raw[:11<<20]), begun}) // ends when the sink has begun
	_, err := maker(t, input.Options{CacheDir: cache}).Layer(t.Context(), in, input.Onto{}, s)
	if err == nil || s.calls != 1 {
		t.Errorf("%d calls, %v", s.calls, err)
	}
}

// notes are the files of a cache.
func notes(t *testing.T, cache string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Whatever is in the cache, the layer is right.
func TestDamagedCache(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), text("lib/x"))
	onto := input.Onto{Ground: merged}
	for name, damage := range map[string]func(s string) string{
		"empty":         func(string) string { return "" },
		"half":          func(s string) string { return s[:len(s)/2] },
		"not JSON":      func(string) string { return "x" },
		"null":          func(string) string { return "null" },
		"other input":   func(s string) string { return strings.Replace(s, `"input":"sha256:`, `"input":"sha512:`, 1) },
		"bad digest":    func(s string) string { return strings.ReplaceAll(s, `"digest":"sha256:`, `"digest":"../`) },
		"bad diff ID":   func(s string) string { return strings.ReplaceAll(s, `"diffID":"sha256:`, `"diffID":"`) },
		"negative size": func(s string) string { return strings.Replace(s, `"size":`, `"size":-`, 1) },
		"media type":    func(s string) string { return strings.Replace(s, oci.MediaLayerGzip, "text/plain", 1) },
		"annotation": func(s string) string {
			return strings.Replace(s, `"entries":`, `"annotations":{"a":"b"},"entries":`, 1)
		},
		"as it is": func(s string) string { return strings.Replace(s, `"entries":`, `"asIs":true,"entries":`, 1) },
		"path":     func(s string) string { return strings.ReplaceAll(s, `"Dir":"lib"`, `"Dir":"../../lib"`) },
		"place":    func(s string) string { return strings.ReplaceAll(s, `"There":2`, `"There":77`) },
		"large":    func(s string) string { return s + strings.Repeat(" ", 5<<20) },
		"many": func(s string) string {
			return strings.Replace(s, `"layers":[`, `"layers":[`+strings.Repeat("{},", 50), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := input.Options{CacheDir: t.TempDir()}
			want := made(t, maker(t, o), input.File(inFile(t, raw)), onto)
			path := notes(t, o.CacheDir)[0]
			was, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			now := damage(string(was))
			if now == string(was) {
				t.Fatal("nothing is damaged")
			}
			if err := os.WriteFile(path, []byte(now), 0o600); err != nil {
				t.Fatal(err)
			}
			var c counter
			o.Progress = c.progress
			got := made(t, maker(t, o), input.File(inFile(t, raw)), onto)
			if got.Descriptor().Digest != want.Descriptor().Digest || c.begun() != 1 {
				t.Errorf("got %s after %d readings, want %s", got.Descriptor().Digest, c.begun(), want.Descriptor().Digest)
			}
		})
	}
}

// A cache that lies well is found out when the layer is wanted, and forgotten.
func TestLyingCache(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"))
	o := input.Options{CacheDir: t.TempDir()}
	want := made(t, maker(t, o), input.File(inFile(t, raw)), input.Onto{}).Descriptor()
	path := notes(t, o.CacheDir)[0]
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lie := oci.FromBytes([]byte("a lie"))
	if err := os.WriteFile(path, bytes.ReplaceAll(was, []byte(want.Digest), []byte(lie)), 0o600); err != nil {
		t.Fatal(err)
	}
	l := made(t, maker(t, o), input.File(inFile(t, raw)), input.Onto{})
	if l.Descriptor().Digest != lie {
		t.Fatal("the lie was not believed")
	}
	if _, err := l.Open(t.Context()); !errors.Is(err, oci.ErrBusy) {
		t.Errorf("got %v", err)
	}
	if got := made(t, maker(t, o), input.File(inFile(t, raw)), input.Onto{}).Descriptor(); got.Digest != want.Digest {
		t.Errorf("got %s, want %s", got.Digest, want.Digest)
	}
}

// A cache that cannot be written is none.
func TestNoCache(t *testing.T) {
	t.Parallel()
	path := inFile(t, makeTar(t, text("app")))
	made(t, maker(t, input.Options{CacheDir: path}), input.File(path), input.Onto{}) // it is a file
}

func TestNamesThatJSONCannotHold(t *testing.T) {
	t.Parallel()
	var c counter
	o := input.Options{CacheDir: t.TempDir(), Progress: c.progress}
	raw := makeTar(t, text("lib\xff/x"))
	for range 2 {
		made(t, maker(t, o), input.File(inFile(t, raw)), input.Onto{Ground: merged})
	}
	if c.begun() != 2 {
		t.Errorf("read %d times, want 2", c.begun())
	}
}

func FuzzNote(f *testing.F) {
	k := input.Key(oci.FromBytes([]byte("an input")), 1000)
	raw := input.EncodeNote(k, "how", []layer.Answer{{Dir: "lib", Place: layer.Place{Path: "usr/lib", There: layer.Present}}})
	for _, s := range []string{string(raw), "", "null", "[]", `{"input":1}`, strings.Replace(string(raw), "usr/lib", "../lib", 1), strings.Replace(string(raw), `"size":7`, `"size":-1`, 1)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { input.CheckNote(t, raw, k) })
}

// What lies on a layer that is only remembered asks where its paths lead while it
// is packed itself, and the other has to be made for the answer.
func TestOnRemembered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	lower := func() *input.Input { return input.Dir(dir, "srv/lower", layer.CreateOptions{}) }
	o := input.Options{CacheDir: t.TempDir()}
	made(t, maker(t, o), lower(), input.Onto{})
	for name, upper := range map[string]func(*input.Input) *input.Input{
		"another":  func(*input.Input) *input.Input { return input.Dir(dir, "srv/upper", layer.CreateOptions{}) },
		"the same": func(in *input.Input) *input.Input { return in },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("they wait for each other"))
			defer cancel()
			m, in := maker(t, o), lower()
			below, err := m.Layer(ctx, in, input.Onto{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ground := layer.NewBase([]oci.Blob{below}, layer.BaseOptions{Deep: true})
			if _, err := m.Layer(ctx, upper(in), input.Onto{Ground: ground}, nil); err != nil {
				t.Fatal(err)
			}
			if n := len(ground.Read()); n != 1 {
				t.Errorf("%d layers were read, want the one below", n)
			}
		})
	}
}
