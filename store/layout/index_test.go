// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

func TestWrittenForm(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("opening made the directory")
	}
	f := ocitest.Image(1, 2, 10)
	push(t, l, f, "v1")
	want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+
		`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`,
		f.Root.MediaType, f.Root.Digest, f.Root.Size)
	if got := string(read(t, filepath.Join(dir, "index.json"))); got != want {
		t.Errorf("index.json is %s\nwant %s", got, want)
	}
	if got := string(read(t, filepath.Join(dir, "oci-layout"))); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %s", got)
	}
	wantClean(t, dir)
}

func TestOpenOfWhatIsNoLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), []byte("x"))
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		create bool
		want   error
	}{
		{"missing", false, oci.ErrNotFound}, {"missing", true, nil}, {"missing/deep", true, nil},
		{"file", false, oci.ErrInvalid}, {"file", true, oci.ErrInvalid},
		{".", false, oci.ErrNotFound}, {".", true, oci.ErrInvalid}, // holds a file of somebody
		{"sub", false, oci.ErrNotFound}, {"sub", true, nil},
	} {
		_, err := layout.Open(filepath.Join(dir, c.name), layout.Options{Create: c.create})
		if !errors.Is(err, c.want) {
			t.Errorf("%s, create %v: got %v, want %v", c.name, c.create, err, c.want)
		}
	}
	l := open(t, sub, layout.Options{Create: true})
	push(t, l, ocitest.Image(1, 1, 10), "v1")
	wantClean(t, sub)
}

// A process that was killed while it made the layout is no obstacle.
func TestOpenOfHalfALayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".lock"), nil)
	write(t, filepath.Join(dir, "index.json"), []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	l := open(t, dir, layout.Options{Create: true})
	f := ocitest.Image(1, 1, 10)
	push(t, l, f, "v1")
	wantResolve(t, l, "v1", f.Root)
}

func TestTagKeepsOneEntryForEachName(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	names := func(dir string) (out []string) {
		for _, e := range entries(t, dir) {
			out = append(out, e.name()+"="+map[oci.Digest]string{f.Root.Digest: "f", g.Root.Digest: "g"}[e.Digest])
		}
		return out
	}
	for _, c := range []struct {
		name string
		do   func(*layout.Dir) error
		want []string
	}{
		{"twice", func(l *layout.Dir) error { return l.Tag(t.Context(), "f1", f.Root) }, []string{"f1=f", "=g"}},
		{"replace", func(l *layout.Dir) error { return l.Tag(t.Context(), "f1", g.Root) }, []string{"f1=g"}},
		{"second name", func(l *layout.Dir) error { return l.Tag(t.Context(), "f2", f.Root) }, []string{"f1=f", "=g", "f2=f"}},
		{"name for a root", func(l *layout.Dir) error { return l.Tag(t.Context(), "g1", g.Root) }, []string{"f1=f", "g1=g"}},
		{"root again", func(l *layout.Dir) error { return l.Publish(t.Context(), g.Blob(g.Root.Digest)) }, []string{"f1=f", "=g"}},
		{"publish two", func(l *layout.Dir) error { return l.Publish(t.Context(), g.Blob(g.Root.Digest), "g1", "g2") }, []string{"f1=f", "g1=g", "g2=g"}},
		{"untag", func(l *layout.Dir) error { return l.Untag(t.Context(), "f1") }, []string{"=f", "=g"}},
		{"delete", func(l *layout.Dir) error { return l.Delete(t.Context(), f.Root) }, []string{"=g"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "image")
			l := open(t, dir, layout.Options{Create: true})
			push(t, l, f, "f1")
			push(t, l, g)
			if err := l.Publish(t.Context(), g.Blob(g.Root.Digest)); err != nil {
				t.Fatal(err)
			}
			if err := c.do(l); err != nil {
				t.Fatal(err)
			}
			if got := names(dir); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTagHealsDuplicates(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	f, g := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	push(t, l, f)
	push(t, l, g)
	named := func(d oci.Descriptor, name string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}`, d.MediaType, d.Digest, d.Size, name)
	}
	write(t, filepath.Join(dir, "index.json"), []byte(`{"schemaVersion":2,"manifests":[`+
		strings.Join([]string{named(f.Root, "a"), named(f.Root, "a"), named(g.Root, "a")}, ",")+`]}`))
	_, err := l.Resolve(t.Context(), "a")
	wantErr(t, "resolve", err, oci.ErrInvalid)
	for _, d := range []oci.Digest{f.Root.Digest, g.Root.Digest} {
		if !strings.Contains(err.Error(), string(d)) {
			t.Errorf("%v does not name %s", err, d)
		}
	}
	if err := l.Tag(t.Context(), "a", f.Root); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 1 || got[0].Digest != f.Root.Digest {
		t.Errorf("got %+v", got)
	}
}

// Children that are published before their index (a copy does that) are no
// roots of their own afterwards.
func TestPublishedChildrenBelongToTheirIndex(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	f := ocitest.Index(1)
	for _, b := range f.Blobs {
		var err error
		if oci.IsManifest(b.Descriptor().MediaType) {
			err = l.Publish(t.Context(), b)
		} else {
			_, err = l.Put(t.Context(), b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := entries(t, dir); len(got) != 1 || got[0].Digest != f.Root.Digest || got[0].Annotations != nil {
		t.Errorf("got %+v", got)
	}
	wantResolve(t, l, "", f.Root)
}

// What this package does not know survives, byte for byte.
func TestUnknownMembersSurvive(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	one := fmt.Sprintf(`{ "x-first": [1, 2.50, 1e3],  "digest": %q, "size": %d,
      "mediaType": %q, "annotations": {"a<b": "é", "org.opencontainers.image.ref.name": "one", "z": "\u00e9"}, "platform": {"os":"linux","architecture":"amd64","x":null} }`,
		f.Root.Digest, f.Root.Size, f.Root.MediaType)
	two := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"x-last":{"deep":[]}}`, g.Root.MediaType, g.Root.Digest, g.Root.Size)
	before, after := "{ \"x-top\" : {\"a\": 1},\n  \"schemaVersion\": 2, \"manifests\" : ", ",\n  \"subject\":null, \"annotations\": {\"k\": \"v\"} }\n"
	doc := before + "[\n " + one + " , " + two + "\n ]" + after

	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	push(t, l, f)
	push(t, l, g)
	steps := []struct {
		name string
		do   func() error
		want string
	}{
		{"tag", func() error { return l.Tag(t.Context(), "three", f.Root) }, before + "[" + one + "," + two + "," +
			fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":"three"}}`, f.Root.MediaType, f.Root.Digest, f.Root.Size) + "]" + after},
		{"name", func() error { return l.Tag(t.Context(), "two<", g.Root) }, before + "[" + one + "," +
			strings.TrimSuffix(two, "}") + `,"annotations":{"org.opencontainers.image.ref.name":"two<"}}` + "]" + after},
		{"untag", func() error { return l.Untag(t.Context(), "one") }, before + `[{"x-first":[1, 2.50, 1e3],"digest":` +
			fmt.Sprintf(`%q,"size":%d,"mediaType":%q,"annotations":{"a<b":"é","z":"\u00e9"},"platform":{"os":"linux","architecture":"amd64","x":null}},`, f.Root.Digest, f.Root.Size, f.Root.MediaType) + two + "]" + after},
		{"nothing new", func() error { return l.Tag(t.Context(), "one", f.Root) }, doc},
	}
	for _, s := range steps {
		write(t, filepath.Join(dir, "index.json"), []byte(doc))
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got := string(read(t, filepath.Join(dir, "index.json"))); got != s.want {
			t.Errorf("%s: got %s\nwant %s", s.name, got, s.want)
		}
	}
}

func TestIndexWithoutManifests(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	for _, doc := range []string{`{}`, `{"schemaVersion":2}`, `{"manifests":null,"schemaVersion":2}`, `{"schemaVersion":2,"manifests":[]}`} {
		dir := filepath.Join(t.TempDir(), "image")
		l := open(t, dir, layout.Options{Create: true})
		push(t, l, f)
		write(t, filepath.Join(dir, "index.json"), []byte(doc))
		if err := l.Tag(t.Context(), "v1", f.Root); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
		wantResolve(t, open(t, dir, layout.Options{}), "v1", f.Root)
	}
}

// An entry that is broken in itself does not make the others useless.
func TestBrokenEntry(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	f := ocitest.Image(1, 1, 10)
	push(t, l, f, "good")
	bad := `{"mediaType":"x/y","digest":"blake3:00","size":3,"annotations":{"org.opencontainers.image.ref.name":"bad"}}`
	doc := bytes.Replace(read(t, filepath.Join(dir, "index.json")), []byte(`"manifests":[`), []byte(`"manifests":[`+bad+`,`), 1)
	write(t, filepath.Join(dir, "index.json"), doc)
	wantResolve(t, l, "good", f.Root)
	_, err := l.Resolve(t.Context(), "bad")
	wantErr(t, "resolve", err, oci.ErrInvalid)
	if err := l.Tag(t.Context(), "more", f.Root); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(read(t, filepath.Join(dir, "index.json")), []byte(bad)) {
		t.Error("the entry was lost")
	}
	_, err = layout.GC(t.Context(), dir, layout.GCOptions{Grace: -1})
	wantErr(t, "gc", err, oci.ErrInvalid)
}

func TestConcurrentChangesShareWrites(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	f := ocitest.Image(1, 1, 10)
	push(t, l, f)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := l.Tag(t.Context(), fmt.Sprintf("t%02d", i), f.Root); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := collect(l.Tags(t.Context())); err != nil || len(got) != 64 || !slices.IsSorted(got) {
		t.Errorf("got %q, %v", got, err)
	}
	wantClean(t, dir)
}

func TestBadNames(t *testing.T) {
	t.Parallel()
	l := create(t)
	f := ocitest.Image(1, 1, 10)
	push(t, l, f)
	for _, name := range []string{"", "a b", "a\nb", "a\x00", "\x1b[31m", string(f.Root.Digest), strings.Repeat("a", 2000), "a\xff"} {
		wantErr(t, fmt.Sprintf("tag %q", name), l.Tag(t.Context(), name, f.Root), oci.ErrInvalid)
		wantErr(t, fmt.Sprintf("publish %q", name), l.Publish(t.Context(), f.Blob(f.Root.Digest), "ok", name), oci.ErrInvalid)
	}
	if got, err := collect(l.Tags(t.Context())); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

// FuzzIndex checks that no index.json brings us down, and that a tag changes
// nothing of it but the list of manifests.
func FuzzIndex(f *testing.F) {
	image := ocitest.Image(1, 1, 10)
	d := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d`, image.Root.MediaType, image.Root.Digest, image.Root.Size)
	for _, seed := range []string{
		``, `{`, `[]`, `null`, `{}`, `{"manifests":{}}`, `{"schemaVersion":1}`, `{"schemaVersion":2,"manifests":[]}`, `{"manifests":[null,1,"x",{}]}`,
		`{"x":[{"manifests":[1]}],"schemaVersion":2,"manifests":[` + d + `,"annotations":{"org.opencontainers.image.ref.name":"v1","k":"v"},"y":{}}],"z":1.50}`,
		`{"manifests":[` + d + `},` + d + `,"annotations":null}]}`, `{"manifests":[` + d + `,"annotations":{"io.containerd.image.name":"docker.io/a/b:v1"}}]} `,
		`{"Manifests":[]}`, `{"manifests":[],"manifests":[]}`, "{\"manifests\":[]}\x00", `{"annotations":{"manifests":"x"},"manifests":[{"digest":"sha256:00"}]}`,
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	l := open(f, filepath.Join(dir, "image"), layout.Options{Create: true})
	push(f, l, image)
	at := filepath.Join(dir, "image", "index.json")
	f.Fuzz(func(t *testing.T, doc []byte) {
		write(t, at, doc)
		l := open2(filepath.Join(dir, "image"))
		if l == nil {
			return
		}
		before := loose(t, doc)
		_, _ = l.Resolve(t.Context(), "v1")
		_, _ = l.Resolve(t.Context(), "")
		_, _ = collect(l.Referrers(t.Context(), image.Root, ""))
		if err := l.Tag(t.Context(), "fuzz", image.Root); err != nil {
			t.Fatalf("tag: %v", err)
		}
		after := loose(t, read(t, at))
		delete(before, "manifests")
		delete(after, "manifests")
		a, _ := json.Marshal(before)
		b, _ := json.Marshal(after)
		if !bytes.Equal(a, b) {
			t.Errorf("%s became %s", a, b)
		}
		wantResolve(t, l, "fuzz", image.Root)
	})
}

func open2(dir string) *layout.Dir {
	l, err := layout.Open(dir, layout.Options{})
	if err != nil {
		return nil
	}
	return l
}

// loose reads an object with its values as they are.
func loose(t *testing.T, doc []byte) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatalf("not an object: %v: %s", err, doc)
	}
	return m
}
