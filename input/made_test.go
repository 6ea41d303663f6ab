// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/input"
)

func TestMade(t *testing.T) {
	t.Parallel()
	content := makeTar(t, text("a"), entry{".wh.b", nil})
	var calls atomic.Int32
	in := func() *input.Input {
		return input.Made("flatten", "a key", func(_ context.Context, w io.Writer) error {
			calls.Add(1)
			_, err := w.Write(content)
			return err
		})
	}
	cache := t.TempDir()
	var first *input.Layer
	for range 2 {
		m := input.New(input.Options{CacheDir: cache})
		l, err := m.Layer(t.Context(), in(), input.Onto{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = l
		}
		if l.DiffID != first.DiffID || l.Descriptor().Digest != first.Descriptor().Digest {
			t.Errorf("%s, and then %s", first.DiffID, l.DiffID)
		}
		if got := calls.Load(); got != 1 {
			t.Errorf("made %d times", got)
		}
		if l == first {
			defer m.Close()
			continue
		}
		rc, err := l.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, rc); err != nil || calls.Load() != 2 {
			t.Errorf("opened: %v, made %d times", err, calls.Load())
		}
		rc.Close()
		m.Close()
	}
}

// A tar with a key is put in place, and found again without being written.
func TestTarWithKey(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, entry{"lib/", nil}, text("lib/a"))
	cache := t.TempDir()
	calls := 0
	run := func(key string, o input.TarOptions, on input.Onto) *input.Layer {
		m := maker(t, input.Options{CacheDir: cache})
		o.Key = key
		return made(t, m, input.Tar("it", o, func(_ context.Context, w io.Writer) error {
			calls++
			_, err := w.Write(raw)
			return err
		}), on)
	}
	for _, c := range []struct {
		key   string
		o     input.TarOptions
		on    input.Onto
		calls int
		names string
	}{
		{"one", input.TarOptions{}, input.Onto{Ground: ground{}}, 1, "lib lib/a"},
		{"one", input.TarOptions{}, input.Onto{Ground: ground{}}, 1, ""},
		{"one", input.TarOptions{}, input.Onto{Ground: merged}, 2, "usr/lib/a"},
		{"one", input.TarOptions{Over: "."}, input.Onto{Ground: merged}, 3, "usr/lib usr/lib/a"},
		{"one", input.TarOptions{Over: "."}, input.Onto{Ground: merged}, 3, ""},
		{"two", input.TarOptions{}, input.Onto{Ground: ground{}}, 4, "lib lib/a"},
	} {
		l := run(c.key, c.o, c.on)
		if calls != c.calls {
			t.Errorf("%+v: written %d times, want %d", c, calls, c.calls)
		}
		if c.names != "" {
			if got := names(t, unpacked(t, l)); got != c.names {
				t.Errorf("%+v: got %s", c, got)
			}
		}
	}
}
