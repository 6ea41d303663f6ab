// SPDX-License-Identifier: Apache-2.0

//go:build unix

package input_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
)

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What comes through a pipe is recognised like a file, and used for two bases.
func TestPipe(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), text("lib/x"))
	for _, c := range []layer.Compression{layer.None, layer.Gzip, layer.Zstd, layer.XZ} {
		path := pipe(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := os.WriteFile(path, packed(t, c, raw), 0); err != nil {
				t.Error(err)
			}
		})
		m := maker(t, input.Options{})
		in := input.File(path)
		for want, onto := range map[string]input.Onto{"app lib/x": {}, "app usr/lib/x": {Ground: merged}} {
			if got := names(t, unpacked(t, made(t, m, in, onto))); got != want {
				t.Errorf("%s: got %s, want %s", c, got, want)
			}
		}
		wg.Wait()
	}
}

// A pipe into which nobody ever writes.
func TestPipeWithoutWriter(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var c counter
	m := input.New(input.Options{TempDir: t.TempDir(), Progress: func(in *input.Input, n int) {
		c.progress(in, n)
		cancel()
	}})
	if _, err := m.Layer(ctx, input.File(pipe(t)), input.Onto{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketsAreLeftOut(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "dray") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := input.Options{CacheDir: t.TempDir()}
	for range 2 { // the second time it is remembered
		if l := made(t, maker(t, o), input.Dir(dir, "/", layer.CreateOptions{}), input.Onto{}); l.Sockets != 1 {
			t.Errorf("%d sockets", l.Sockets)
		}
	}
}
