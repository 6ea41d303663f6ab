// SPDX-License-Identifier: Apache-2.0

package dir_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
)

func TestBad_079_HugeManifest(t *testing.T) {
	t.Parallel()
	path := made(t, ocitest.Image(1, 1, 10))
	if err := os.Truncate(filepath.Join(path, "manifest.json"), 1<<30); err != nil { // sparse
		t.Fatal(err)
	}
	_, err := open(t, path, false).Resolve(t.Context(), "")
	wantErr(t, "resolve", err, oci.ErrInvalid)
	if err := os.Truncate(filepath.Join(path, "version"), 1<<30); err != nil {
		t.Fatal(err)
	}
	_, err = dir.Open(path, dir.Options{})
	wantErr(t, "open", err, oci.ErrInvalid)
}

func TestBad_082_Version(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"Directory Transport Version: 1.0\n": nil, "Directory Transport Version: 1.1": nil, "Directory Transport Version: 1.7\n": nil,
		"Directory Transport Version: 2.0\n": oci.ErrUnsupported, "Directory Transport Version: \x1b[1m": oci.ErrUnsupported,
		"1.1\n": oci.ErrInvalid, "": oci.ErrInvalid,
	} {
		path := made(t, ocitest.Image(1, 1, 10))
		write(t, filepath.Join(path, "version"), []byte(text))
		for _, w := range []bool{false, true} {
			if _, err := dir.Open(path, dir.Options{Write: w}); !errors.Is(err, want) || err != nil && strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("%q, write %v: %v, want %v", text, w, err, want)
			}
		}
	}
	f := ocitest.Image(1, 1, 10)
	path := made(t, f)
	if err := os.Remove(filepath.Join(path, "version")); err != nil { // as skopeo reads it
		t.Fatal(err)
	}
	wantImage(t, path, f)
	save(t, path, ocitest.Image(2, 1, 10))
}

func TestBad_082_NoRegularFile(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(file string) error{
		"link":           func(file string) error { return os.Symlink("/dev/zero", file) },
		"link to a copy": func(file string) error { return os.Symlink(file+"-aside", file) },
		"directory":      func(file string) error { return os.Mkdir(file, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := ocitest.Image(1, 1, 1000)
			path := made(t, f)
			layer := f.Layers()[0].Descriptor()
			file := filepath.Join(path, layer.Digest.Encoded())
			if err := os.Rename(file, file+"-aside"); err != nil {
				t.Fatal(err)
			}
			if err := replace(file); err != nil {
				t.Skip(err)
			}
			d := open(t, path, false)
			_, err := d.Stat(t.Context(), layer)
			wantErr(t, "stat", err, oci.ErrCorrupt)
			_, err = content(d, layer)
			wantErr(t, "open", err, oci.ErrCorrupt)
			_, err = d.OpenRange(t.Context(), layer, 1, 1)
			wantErr(t, "range", err, oci.ErrCorrupt)
			_, err = dir.Open(path, dir.Options{Write: true})
			wantErr(t, "open to write", err, oci.ErrInvalid)
		})
	}
}

func TestBad_082_WrongBytes(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1)
	path := made(t, f)
	for _, b := range f.Blobs[:len(f.Blobs)-1] {
		d := b.Descriptor()
		file := filepath.Join(path, d.Digest.Encoded())
		if oci.IsManifest(d.MediaType) {
			file += ".manifest.json"
		}
		raw := read(t, file)
		raw[len(raw)/2] ^= 1
		write(t, file, raw)
		ocitest.CheckCorrupt(t, open(t, path, false), d)
		if oci.IsManifest(d.MediaType) {
			_, err := open(t, path, false).Resolve(t.Context(), string(d.Digest))
			wantErr(t, "resolve", err, oci.ErrCorrupt)
		}
	}
}

// What the directory holds becomes part of the next image only if it is right,
// and what is not is fetched again.
func TestBad_083_ExistingIsNotTrustedByName(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]byte) []byte{
		"stump":   func(b []byte) []byte { return b[:100] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"flipped": func(b []byte) []byte { b[500] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := ocitest.Image(1, 2, 1000)
			path := made(t, f)
			layer := f.Layers()[0]
			file := filepath.Join(path, layer.Descriptor().Digest.Encoded())
			good := read(t, file)
			write(t, file, spoil(bytes.Clone(good)))
			d := open(t, path, true)
			for _, desc := range []oci.Descriptor{layer.Descriptor(), f.Root} {
				_, err := d.Stat(t.Context(), desc)
				wantErr(t, "stat", err, oci.ErrNotFound)
			}
			if _, err := d.Stat(t.Context(), f.Layers()[1].Descriptor()); err != nil {
				t.Error(err)
			}
			if err := d.Publish(t.Context(), f.Blob(f.Root.Digest)); err != nil {
				t.Fatal(err)
			}
			wantErr(t, "commit", d.Commit(t.Context()), oci.ErrNotFound)
			if how, err := d.Put(t.Context(), layer); how != oci.Sent || err != nil {
				t.Errorf("put: %v, %v", how, err)
			}
			commit(t, d)
			wantImage(t, path, f)
			if !bytes.Equal(read(t, file), good) {
				t.Error("the blob was not repaired")
			}
		})
	}
}

// A directory that is something else is never touched.
func TestForeignDirectory(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"a project":            {"main.go": "package main", "manifest.json": "{}", "version": "Directory Transport Version: 1.1\n"},
		"notes":                {"notes.txt": "x"},
		"a web app's manifest": {"manifest.json": "{}", "index.html": ""},
		"only numbers":         {strings.Repeat("0", 64): "x"},
		"hidden":               {".git": "x"},
		"another version":      {"version": "3\n"},
	} {
		path := t.TempDir()
		for file, text := range files {
			write(t, filepath.Join(path, file), []byte(text))
		}
		before := snapshot(t, path)
		if _, err := dir.Open(path, dir.Options{Write: true}); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if !maps.Equal(before, snapshot(t, path)) {
			t.Errorf("%s: changed", name)
		}
	}
	f := ocitest.Image(1, 1, 10) // made foreign while it was written
	path := made(t, f)
	d := open(t, path, true)
	push(t, d, ocitest.Image(2, 1, 10))
	publish(t, d, ocitest.Image(2, 1, 10))
	write(t, filepath.Join(path, "notes.txt"), []byte("x"))
	before := snapshot(t, path)
	wantErr(t, "commit", d.Commit(t.Context()), oci.ErrInvalid)
	if err := d.Abort(); err != nil || !maps.Equal(before, snapshot(t, path)) {
		t.Errorf("changed: %v", err)
	}
	if _, err := dir.Open(filepath.Join(path, "notes.txt"), dir.Options{Write: true}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("a file: %v", err)
	}
}
