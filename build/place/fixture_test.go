// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A blob counts how often it is opened.
type blob struct {
	oci.Blob
	opens atomic.Int32
}

func (b *blob) Open(ctx context.Context) (io.ReadCloser, error) {
	b.opens.Add(1)
	return b.Blob.Open(ctx)
}

var day = time.Unix(1_500_000_000, 123_000_000)

// tarOf makes a tar of a text with an entry a line or word:
//
//	dir/            a directory, 0755
//	file=content    0644; ~ is a new line
//	link->target
//	hard=>file
//	fifo|
//
// Before it may stand MODE,UID,GID: and after a file @XATTR.
func tarOf(t testing.TB, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range strings.Fields(text) {
		h := &tar.Header{Mode: 0o644, ModTime: day, Format: tar.FormatPAX}
		if meta, rest, ok := strings.Cut(f, ":"); ok && !strings.Contains(meta, "=") {
			m := strings.Split(meta, ",")
			h.Mode, _ = strconv.ParseInt(m[0], 8, 64)
			if len(m) > 1 {
				h.Uid, _ = strconv.Atoi(m[1])
				h.Gid, _ = strconv.Atoi(m[2])
			}
			f = rest
		} else if strings.HasSuffix(f, "/") {
			h.Mode = 0o755
		}
		body := ""
		if from, to, ok := strings.Cut(f, "=>"); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeLink, from, to
		} else if from, to, ok := strings.Cut(f, "->"); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, from, to
		} else if name, content, ok := strings.Cut(f, "="); ok {
			h.Typeflag, h.Name, body = tar.TypeReg, name, strings.ReplaceAll(content, "~", "\n")
			if content, x, ok := strings.Cut(content, "@"); ok {
				body, h.PAXRecords = content, map[string]string{"SCHILY.xattr.user.x": x}
			}
		} else if strings.HasSuffix(f, "|") {
			h.Typeflag, h.Name = tar.TypeFifo, f[:len(f)-1]
		} else {
			h.Typeflag, h.Name = tar.TypeDir, f
		}
		h.Size = int64(len(body))
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
	return buf.Bytes()
}

// A world has an engine, and a Set.
type world struct {
	e     *build.Engine
	set   *place.Set
	begun atomic.Int32 // inputs that were begun to be read
}

func newWorld(t testing.TB, o build.Options) *world {
	t.Helper()
	x := &world{set: place.NewSet(place.Options{})}
	m := input.New(input.Options{CacheDir: o.CacheDir, TempDir: t.TempDir(), Clamp: o.Time, Progress: func(_ *input.Input, n int) {
		if n == 0 {
			x.begun.Add(1)
		}
	}})
	t.Cleanup(func() { m.Close() })
	o.Maker, o.Outlines = m, &layer.Outlines{}
	if o.CacheDir != "" {
		o.Outlines.Dir = filepath.Join(o.CacheDir, "outlines")
	}
	x.e = build.NewEngine(o)
	return x
}

func (x *world) stack(t testing.TB, platform string, layers ...string) (*build.Stack, []*blob) {
	t.Helper()
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	i, err := edit.New(p, false)
	if err != nil {
		t.Fatal(err)
	}
	var blobs []*blob
	for n, text := range layers {
		raw := tarOf(t, text)
		b := &blob{Blob: oci.Bytes(oci.MediaLayer, raw)}
		l := edit.Layer{Descriptor: b.Descriptor(), DiffID: oci.FromBytes(raw), Blob: b}
		if err := edit.Append(l, edit.History{CreatedBy: fmt.Sprint("layer ", n)})(i); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	return x.e.NewStack(i, &build.Base{Platform: p}), blobs
}

// add adds a Spec and lists the layer that it became; "none" if there is none.
func (x *world) add(t testing.TB, onto *build.Stack, s place.Spec) (string, error) {
	t.Helper()
	if s.At == "" {
		s.At = "Dockerfile:3"
	}
	before := len(onto.Blobs())
	if err := x.set.Add(t.Context(), x.e, onto, s, "COPY it"); err != nil {
		return "", err
	}
	h := onto.History()
	if last := h[len(h)-1]; last.CreatedBy != "COPY it" || last.EmptyLayer != (len(onto.Blobs()) == before) {
		t.Errorf("history: %+v", last)
	}
	if len(onto.Blobs()) == before {
		return "none", nil
	}
	return list(t, onto.Blobs()[before]), nil
}

// list is what a layer has, a line an entry, in its order.
func list(t testing.TB, b oci.Blob) string {
	t.Helper()
	rc, err := layer.Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	r := layer.NewReader(rc, layer.Limits{})
	var out []string
	for e, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		h := e.Header
		s := fmt.Sprintf("%o,%d,%d:%s", h.Mode, h.Uid, h.Gid, h.Name)
		if h.Mode == 0o644 && h.Uid == 0 && h.Gid == 0 && e.Kind != layer.Dir || e.Kind == layer.Dir && h.Mode == 0o755 && h.Uid == 0 && h.Gid == 0 || e.Kind == layer.Symlink {
			s = h.Name
		}
		switch e.Kind {
		case layer.File:
			raw, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			s += "=" + string(raw)
		case layer.Symlink:
			s += "->" + h.Linkname
		case layer.Link:
			s += "=>" + h.Linkname
		case layer.Fifo:
			s += "|"
		}
		if v := h.PAXRecords["SCHILY.xattr.user.x"]; v != "" {
			s += "@" + v
		}
		if h.Uname != "" || h.Gname != "" {
			s += " names"
		}
		switch u := h.ModTime.UnixNano(); u {
		case 0:
		case day.UnixNano():
			s += "!"
		default:
			s += fmt.Sprintf("!%d", u)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// folder makes a context of a text as tarOf has it.
func folder(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	fill(t, dir, text)
	return dir
}

func fill(t testing.TB, dir, text string) {
	t.Helper()
	type late struct {
		path string
		mode os.FileMode
	}
	var modes []late
	for _, f := range strings.Fields(text) {
		mode := os.FileMode(0)
		if m, rest, ok := strings.Cut(f, ":"); ok {
			n, _ := strconv.ParseUint(m, 8, 32)
			mode, f = os.FileMode(n&0o777), rest
			if n&0o4000 != 0 {
				mode |= os.ModeSetuid
			}
		}
		name, body, isFile := strings.Cut(f, "=")
		name, target, isLink := strings.Cut(name, "->")
		path := filepath.Join(dir, strings.TrimSuffix(name, "/"))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case isLink:
			must(t, os.Symlink(target, path))
			continue
		case isFile && strings.HasPrefix(body, ">"):
			must(t, os.Link(filepath.Join(dir, body[1:]), path))
		case isFile:
			must(t, os.WriteFile(path, []byte(body), 0o644))
			if mode == 0 {
				mode = 0o644
			}
		default:
			must(t, os.MkdirAll(path, 0o755))
			if mode == 0 {
				mode = 0o755
			}
		}
		if mode != 0 {
			modes = append(modes, late{path, mode})
		}
	}
	slices.Reverse(modes)
	for _, l := range modes {
		must(t, os.Chmod(l.path, l.mode))
		must(t, os.Chtimes(l.path, day, day))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
