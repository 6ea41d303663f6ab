// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A tar that has names twice becomes a layer that has them once, whatever the tar
// comes from and though a part may have been sent already.
func TestRepeatedNamesAreWrittenOnce(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 16<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	raw := makeTar(t, text("lib/x"), entry{name: "big", body: noise}, text("usr/lib/x"))
	for name, in := range map[string]func() *input.Input{
		"file":   func() *input.Input { return input.File(inFile(t, raw)) },
		"stream": func() *input.Input { return input.Stream("stdin", bytes.NewReader(raw)) },
		"gzip":   func() *input.Input { return input.File(inFile(t, packed(t, layer.Gzip, raw))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := input.Options{CacheDir: t.TempDir()}
			s := &sink{}
			l, err := maker(t, o).Layer(t.Context(), in(), input.Onto{Ground: merged}, s)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, unpacked(t, l)); got != "big usr/lib/x" || l.Entries != 2 {
				t.Errorf("got %s", got)
			}
			if s.calls == 0 || s.ended() != nil || oci.FromBytes(s.got) != l.Descriptor().Digest {
				t.Errorf("%d uploads, %d bytes, %v", s.calls, len(s.got), s.ended())
			}
			var c counter
			o.Progress = c.progress
			again := made(t, maker(t, o), in(), input.Onto{Ground: merged})
			if c.begun() != 0 || again.DiffID != l.DiffID {
				t.Errorf("made again as %s", again.DiffID)
			}
		})
	}
	bad := makeTar(t, text("a"), text("a"), text("a/x"))
	if _, err := maker(t, input.Options{}).Layer(t.Context(), input.File(inFile(t, bad)), input.Onto{}, nil); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// The name of a file, and the owner of what has to be made, are no part of the
// tar by which a directory is remembered.
func TestRulesAreRemembered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := input.Options{CacheDir: t.TempDir()}
	for _, name := range []string{"a", "b", "a"} {
		l := made(t, maker(t, o), input.Dir(filepath.Join(dir, name), "lib", layer.CreateOptions{}), input.Onto{Ground: merged})
		if got := names(t, unpacked(t, l)); got != "usr/lib/"+name {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// What stays of the base is told, also when it is remembered.
func TestKeptIsRemembered(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, entry{name: "lib/"}, text("app"))
	o := input.Options{CacheDir: t.TempDir()}
	for range 2 {
		l := made(t, maker(t, o), input.File(inFile(t, raw)), input.Onto{Ground: merged})
		if l.KeptCount != 1 || len(l.Kept) != 1 || l.Kept[0] != "usr/lib" {
			t.Errorf("%v of %d", l.Kept, l.KeptCount)
		}
	}
}
