// SPDX-License-Identifier: Apache-2.0

package jar_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/jar"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// An entry is a file of an archive; stored if it is said so.
type entry struct {
	name, text string
	stored     bool
}

// zipped is an archive. Names of classes and jars get what such files begin with,
// where they have no text.
func zipped(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for n, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: time.Date(2020, 1, 1+n, 0, 0, 0, 0, time.UTC)}
		if e.stored {
			h.Method = zip.Store
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, e.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// class is a class of Java as small as it can be: with a main method, if there is
// to be one, and a field that is called like that.
func class(java int, name string, main bool) string {
	var b bytes.Buffer
	u2 := func(list ...int) {
		for _, n := range list {
			_ = binary.Write(&b, binary.BigEndian, uint16(n))
		}
	}
	text := func(s string) { b.WriteByte(1); u2(len(s)); b.WriteString(s) }
	b.WriteString("\xca\xfe\xba\xbe")
	u2(0, 44+java)
	u2(9)
	text(strings.ReplaceAll(name, ".", "/")) // 1
	b.WriteByte(7)                           // 2: this class
	u2(1)
	b.WriteByte(5) // 3 and 4: a long
	b.Write(make([]byte, 8))
	text("java/lang/Object") // 5
	b.WriteByte(7)           // 6
	u2(5)
	text("main")                   // 7
	text("([Ljava/lang/String;)V") // 8
	u2(0x21, 2, 6, 0)              // access, this, super, no interfaces
	u2(1, 0x9, 7, 8, 1, 7)         // a field with an attribute of one byte
	_ = binary.Write(&b, binary.BigEndian, uint32(1))
	b.WriteByte(0)
	if main {
		u2(1, 0x9, 7, 8, 0)
	} else {
		u2(1, 0x1, 7, 8, 0) // not static
	}
	u2(0)
	return b.String()
}

// write makes files below a directory.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// An image is what was built, as tests look at it.
type image struct {
	digest     oci.Digest
	entrypoint []string
	layers     []string          // PART: PATH PATH…
	files      map[string]string // by path
	components []build.Component
	notes      []string
}

// engine has no bases but what needs none; a name that is asked for is noted.
func engine(t testing.TB, asked *string) *build.Engine {
	m := input.New(input.Options{CacheDir: t.TempDir(), TempDir: t.TempDir()})
	t.Cleanup(func() { _ = m.Close() })
	return build.NewEngine(build.Options{Maker: m, Outlines: &layer.Outlines{}, Open: func(_ context.Context, name string) (build.Opened, error) {
		if asked != nil {
			*asked = name
		}
		return build.Opened{}, oci.Errorf(oci.ErrNotFound, "no base is here")
	}})
}

// made builds on nothing, for one platform.
func made(t testing.TB, path string, o jar.Options, platform string) (*image, error) {
	t.Helper()
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, nil)
	r, err := build.Run(t.Context(), e, jar.New(path, o), build.Want{From: []string{build.Scratch}, Platforms: []oci.Platform{p}}, build.RunOptions{})
	if err != nil {
		return nil, err
	}
	s := r.Stacks[0]
	c, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	i := &image{entrypoint: c.Config.Entrypoint, files: map[string]string{}, components: s.Components, notes: e.Notes()}
	outlines, err := s.Outlines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(c.RootFS.DiffIDs)
	if err != nil {
		t.Fatal(err)
	}
	i.digest = oci.FromBytes(raw)
	for n, o := range outlines {
		_, name, _ := strings.Cut(c.History[n].CreatedBy, ", ")
		name, _, _ = strings.Cut(name, ":")
		words := []string{name + ":"}
		for x, err := range o.Changes() {
			if err != nil {
				t.Fatal(err)
			}
			if x.Kind != layer.File {
				continue
			}
			if h := x.Header; h.Mode != 0o644 || h.Uid+h.Gid != 0 || h.ModTime.Unix() != 0 {
				t.Errorf("%s: mode %o, owner %d:%d, time %s", x.Name, h.Mode, h.Uid, h.Gid, h.ModTime)
			}
			words = append(words, x.Name)
			rc, _, err := s.Files().Open(t.Context(), x.Name)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(rc)
			rc.Close()
			if err != nil {
				t.Fatal(err)
			}
			i.files[x.Name] = string(text)
		}
		i.layers = append(i.layers, strings.Join(words, " "))
	}
	return i, nil
}

func must(t testing.TB, path string, o jar.Options) *image {
	t.Helper()
	i, err := made(t, path, o, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// want compares lists of lines.
func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantError says that an error is of a kind and has some words.
func wantError(t *testing.T, err, kind error, words string) {
	t.Helper()
	if !errors.Is(err, kind) || err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want %v with %q", err, kind, words)
	}
}
