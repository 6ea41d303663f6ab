// SPDX-License-Identifier: Apache-2.0

package convert_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/dray-tools/dray/convert"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
)

// A shelf is a source in memory that counts how often each blob is opened.
type shelf struct {
	mu    sync.Mutex
	blobs map[oci.Digest]oci.Blob
	tags  map[string]oci.Descriptor
	opens map[oci.Digest]int
}

func newShelf(f ocitest.Fixture) *shelf {
	s := &shelf{blobs: map[oci.Digest]oci.Blob{}, tags: map[string]oci.Descriptor{"1": f.Root}, opens: map[oci.Digest]int{}}
	for _, b := range f.Blobs {
		s.blobs[b.Descriptor().Digest] = b
	}
	return s
}

func (s *shelf) add(mediaType string, raw []byte) oci.Descriptor {
	b := oci.Bytes(mediaType, raw)
	s.blobs[b.Descriptor().Digest] = b
	return b.Descriptor()
}

func (s *shelf) Resolve(_ context.Context, name string) (oci.Descriptor, error) {
	if d, ok := s.tags[name]; ok {
		return d, nil
	}
	return s.Stat(context.Background(), oci.Descriptor{Digest: oci.Digest(name)})
}

func (s *shelf) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if b := s.blobs[d.Digest]; b != nil {
		return b.Descriptor(), nil
	}
	return d, oci.Errorf(oci.ErrNotFound, "%s is not there", d.Digest)
}

func (s *shelf) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	s.mu.Lock()
	s.opens[d.Digest]++
	s.mu.Unlock()
	if b := s.blobs[d.Digest]; b != nil {
		return b.Open(ctx)
	}
	return nil, oci.Errorf(oci.ErrNotFound, "%s is not there", d.Digest)
}

// read returns how often layers were opened.
func (s *shelf) read(layers []oci.Blob) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range layers {
		n += s.opens[l.Descriptor().Digest]
	}
	return n
}

func converting(t testing.TB, s oci.Source, o convert.Options) *convert.Converter {
	t.Helper()
	if o.TempDir == "" {
		o.TempDir = t.TempDir()
	}
	c := convert.New(s, o)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(o.TempDir, "*")); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	})
	return c
}

func packing(t testing.TB, s string) *layer.Packing {
	t.Helper()
	if s == "" {
		return nil
	}
	p, err := layer.ParsePacking(s)
	must(t, err)
	return &p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copied resolves tag 1 and copies the graph into a store of its own, which
// checks every digest and that children come first.
func copied(t testing.TB, s oci.Source) ocitest.Fixture {
	t.Helper()
	ctx := t.Context()
	root, err := s.Resolve(ctx, "1")
	must(t, err)
	tree, err := oci.Graph{Root: root, Source: s}.Load(ctx, nil)
	must(t, err)
	f := ocitest.Fixture{Root: root}
	for _, d := range tree.Blobs {
		raw := contents(t, s, d)
		f.Blobs = append(f.Blobs, oci.Bytes(d.MediaType, raw))
	}
	for _, m := range tree.Manifests {
		f.Blobs = append(f.Blobs, m.Blob())
	}
	st, err := mem.New().Repository(ctx, "copy")
	must(t, err)
	must(t, f.Push(ctx, st, "1"))
	return f
}

func contents(t testing.TB, s oci.Source, d oci.Descriptor) []byte {
	t.Helper()
	rc, err := s.Open(t.Context(), d)
	must(t, err)
	defer rc.Close()
	raw, err := io.ReadAll(oci.Verify(rc, d))
	must(t, err)
	return raw
}

// images lists the images of a fixture with their layers checked against the
// configs.
func images(t testing.TB, f ocitest.Fixture) (out []*image.Image) {
	t.Helper()
	s := newShelf(f)
	tree, err := oci.Graph{Root: f.Root, Source: s}.Load(t.Context(), nil)
	must(t, err)
	for _, m := range tree.Manifests {
		if m.IsIndex() {
			continue
		}
		img, err := image.Of(t.Context(), s, m)
		must(t, err)
		for i, b := range img.Layers() {
			rc, err := layer.Open(t.Context(), b)
			must(t, err)
			raw, err := io.ReadAll(rc)
			must(t, errors.Join(err, rc.Close()))
			if got := oci.FromBytes(raw); got != img.DiffIDs[i] {
				t.Errorf("layer %d has diff ID %s, config says %s", i, got, img.DiffIDs[i])
			}
		}
		out = append(out, img)
	}
	return out
}

func TestConvertPairs(t *testing.T) {
	t.Parallel()
	original := ocitest.Index(1, "linux/amd64", "linux/arm64")
	for _, from := range []string{"gzip", "zstd", "none", "estargz"} {
		for _, to := range []string{"gzip", "zstd", "none", "estargz", "gzip:9", "zstd:9"} {
			for _, types := range []string{"", "docker"} {
				if types != "" && strings.Contains(to, ":") {
					continue
				}
				t.Run(from+" to "+to+" "+types, func(t *testing.T) {
					t.Parallel()
					start := copied(t, converting(t, newShelf(original), convert.Options{Packing: packing(t, from)}))
					end := copied(t, converting(t, newShelf(start), convert.Options{Packing: packing(t, to), MediaTypes: types}))
					before, after := images(t, start), images(t, end)
					for i, img := range after {
						if !strings.Contains(to, "estargz") && before[i].DiffIDs[1] != img.DiffIDs[1] {
							t.Errorf("diff IDs changed from %v to %v", before[i].DiffIDs, img.DiffIDs)
						}
						for _, d := range img.Manifest.Layers {
							checkLayer(t, d, to, types, contents(t, newShelf(end), d))
						}
						if docker := strings.Contains(img.Manifest.Descriptor.MediaType, "docker"); docker != (types == "docker") {
							t.Errorf("manifest is %s", img.Manifest.Descriptor.MediaType)
						}
					}
				})
			}
		}
	}
}

func checkLayer(t *testing.T, d oci.Descriptor, to, types string, raw []byte) {
	t.Helper()
	p := packing(t, to)
	want := p.MediaType(oci.MediaLayer)
	if types == "docker" {
		want = p.MediaType(oci.MediaDockerPlain)
	}
	c := p.Compression
	if d.MediaType != want || layer.Sniff(raw) != c {
		t.Errorf("layer is %s packed with %s, want %s", d.MediaType, layer.Sniff(raw), want)
	}
	toc := d.Annotations[layer.AnnotationTOC]
	if p.Estargz {
		r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw))))
		must(t, err)
		if _, err := r.VerifyTOC(oci.Digest(toc)); err != nil {
			t.Error(err)
		}
	} else if toc != "" && (p.Compression != layer.Gzip || p.Level != 0) {
		t.Errorf("annotations %v stayed", d.Annotations)
	}
}

func TestConvertNothing(t *testing.T) {
	t.Parallel()
	f := copied(t, converting(t, newShelf(ocitest.Index(1)), convert.Options{Packing: packing(t, "gzip")}))
	for _, o := range []convert.Options{{}, {Packing: packing(t, "gzip")}, {MediaTypes: "oci"}, {PlainOnly: true}, {PlainOnly: true, Packing: packing(t, "zstd")}, {NoWork: true, Packing: packing(t, "gzip")}} {
		s := newShelf(f)
		d, err := converting(t, s, o).Resolve(t.Context(), "1")
		if err != nil || d.Digest != f.Root.Digest || s.read(f.Layers()) != 0 {
			t.Errorf("%+v: %s becomes %s: %v, %d layers opened", o, f.Root.Digest, d.Digest, err, s.read(f.Layers()))
		}
	}
}

func TestConvertOnce(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(3)
	s := newShelf(f)
	var mu sync.Mutex
	read := map[oci.Digest]int{}
	o := convert.Options{Packing: packing(t, "zstd"), CacheDir: t.TempDir(), Progress: func(d oci.Descriptor, n int) {
		mu.Lock()
		defer mu.Unlock()
		read[d.Digest] += n
	}}
	first := copied(t, converting(t, s, o))
	for _, l := range f.Layers() {
		if n := s.opens[l.Descriptor().Digest]; n != 1 {
			t.Errorf("%s was opened %d times", l.Descriptor().Digest, n)
		}
		if d := l.Descriptor(); read[d.Digest] != int(d.Size) {
			t.Errorf("progress of %d bytes, not %d", read[d.Digest], d.Size)
		}
	}
	s.opens = map[oci.Digest]int{}
	o.NoWork = true
	c := converting(t, s, o)
	d, err := c.Resolve(t.Context(), "1")
	if err != nil || d.Digest != first.Root.Digest || s.read(f.Layers()) != 0 {
		t.Errorf("again: %s, %v, %d layers opened", d.Digest, err, s.read(f.Layers()))
	}
	if again := copied(t, c); again.Root.Digest != first.Root.Digest || s.read(f.Layers()) != 4 {
		t.Errorf("opened again: %d", s.read(f.Layers()))
	}
	o.Packing = packing(t, "zstd:9")
	if _, err := converting(t, s, o).Resolve(t.Context(), "1"); !errors.Is(err, oci.ErrUnsupported) || !strings.Contains(err.Error(), "4 layers") {
		t.Errorf("another level without work: %v", err)
	}
}

func TestConvertKeep(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(3)
	s := newShelf(f)
	o := convert.Options{Packing: packing(t, "gzip"), Keep: func(m *oci.Manifest) ([]bool, error) { return []bool{false, true, false}, nil }}
	got := images(t, copied(t, converting(t, s, o)))
	if len(got) != 1 || got[0].Platform.Architecture != "arm64" || s.read(f.Layers()) != 2 {
		t.Errorf("%d images, %d layers opened", len(got), s.read(f.Layers()))
	}
	if got := images(t, copied(t, converting(t, newShelf(f), convert.Options{Keep: o.Keep}))); len(got) != 1 {
		t.Errorf("%d images without packing", len(got))
	}
}

// gzipped is a tar with a name of its own, and packed.
func gzipped(t testing.TB, name string) (plain, packed []byte) {
	t.Helper()
	var buf, out bytes.Buffer
	w := tar.NewWriter(&buf)
	must(t, w.WriteHeader(&tar.Header{Name: name, Size: 3, Mode: 0o644}))
	_, err := w.Write([]byte("abc"))
	must(t, err)
	must(t, w.Close())
	_, err = layer.Pack(&out, bytes.NewReader(buf.Bytes()), layer.Packing{})
	must(t, err)
	return buf.Bytes(), out.Bytes()
}

// odd makes a manifest by hand: layer descriptors with %s for digest and size
// of one layer.
func odd(t testing.TB, s *shelf, diffID oci.Digest, manifest string, args ...any) oci.Descriptor {
	t.Helper()
	config := s.add(oci.MediaConfig, fmt.Appendf(nil, "{ \"rootfs\": {\"type\":\"layers\", \"diff_ids\":[ %q ]},\n\"os\":\"linux\",\"architecture\":\"amd64\",\"odd\":[1.0] }", diffID))
	d := s.add(oci.MediaManifest, fmt.Appendf(nil, manifest, append([]any{config.Digest, config.Size}, args...)...))
	s.tags["1"] = d
	return d
}

func TestConvertUnknownMembers(t *testing.T) {
	t.Parallel()
	s := newShelf(ocitest.Fixture{})
	plain, packed := gzipped(t, "f")
	l := s.add(oci.MediaLayerGzip, packed)
	const form = `{ "x-first" : [ 1.0, {"<&>":null} ],
  "schemaVersion": 2,  "config": {"size": %[2]d, "digest": "%[1]s", "mediaType": "application/vnd.oci.image.config.v1+json", "x":1},
  "layers": [
    {"annotations": {"b":"2", %[5]s"a":"1"}, "mediaType": "%[6]s", "x-unknown": true, "size": %[4]d%[7]s, "digest": "%[3]s"}
  ], "annotations":{"z":"1","a":"2"}
}
`
	odd(t, s, oci.FromBytes(plain), form, l.Digest, l.Size, `"io.github.containers.zstd-chunked.manifest-position":"1:2:3", `, oci.MediaLayerGzip, fmt.Sprintf(`, "urls": ["https://example.org"], "data": %q`, encode(packed)))
	c := converting(t, s, convert.Options{Packing: packing(t, "zstd")})
	d, err := c.Resolve(t.Context(), "1")
	must(t, err)
	m, err := oci.Fetch(t.Context(), c, d)
	must(t, err)
	now := m.Layers[0]
	want := fmt.Sprintf(form, m.Config.Digest, m.Config.Size, now.Digest, now.Size, "", oci.MediaLayerZstd, "")
	if string(m.Raw) != want {
		t.Errorf("got  %s\nwant %s", m.Raw, want)
	}
	s.tags["2"] = d
	c = converting(t, s, convert.Options{MediaTypes: "docker"})
	d, err = c.Resolve(t.Context(), "1")
	must(t, err)
	m, err = oci.Fetch(t.Context(), c, d)
	must(t, err)
	if !strings.HasSuffix(string(m.Raw), "\"a\":\"2\"},\n  \"mediaType\": \""+oci.MediaDockerManifest+"\"\n}\n") && !strings.Contains(string(m.Raw), oci.MediaDockerManifest) {
		t.Errorf("docker: %s", m.Raw)
	}
}

func encode(b []byte) string {
	raw, _ := json.Marshal(b)
	return strings.Trim(string(raw), `"`)
}

const oneLayer = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"%s","digest":"%s","size":%d}]}`

func TestConvertEstargzConfig(t *testing.T) {
	t.Parallel()
	s := newShelf(ocitest.Fixture{})
	plain, packed := gzipped(t, "f")
	l := s.add(oci.MediaLayerGzip, packed)
	odd(t, s, oci.FromBytes(plain), oneLayer, oci.MediaLayerGzip, l.Digest, l.Size)
	f := copied(t, converting(t, s, convert.Options{Packing: packing(t, "estargz")}))
	img := images(t, f)[0]
	want := fmt.Sprintf("{ \"rootfs\": {\"type\":\"layers\", \"diff_ids\":[ %q ]},\n\"os\":\"linux\",\"architecture\":\"amd64\",\"odd\":[1.0] }", img.DiffIDs[0])
	if string(img.Config) != want || img.DiffIDs[0] == oci.FromBytes(plain) {
		t.Errorf("config %s, want %s", img.Config, want)
	}
}

// What is about a child of an index follows it: BuildKit's annotation and
// subjects. What is no file system stays.
func TestConvertAbout(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		foreign = layer 100 foreign
		still = image foreign
		note = blob words
		art = artifact note type=application/x
	`)
	f := ocitest.Image(1, 1, 100)
	about := ocitest.Artifact(1, "application/sig", &f.Root)
	s := newShelf(f)
	for _, x := range []ocitest.Fixture{w.Fixture("still"), w.Fixture("art"), about} {
		for _, b := range x.Blobs {
			s.blobs[b.Descriptor().Digest] = b
		}
	}
	entry := func(d oci.Descriptor, more string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, d.MediaType, d.Digest, d.Size, more)
	}
	form := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + "%s, %s,\n%s ,%s]}"
	entries := func(about, app oci.Descriptor) []byte {
		return fmt.Appendf(nil, form, entry(about, `,"annotations":{"vnd.docker.reference.digest":"`+string(app.Digest)+`"}`), entry(app, ""),
			entry(w.Fixture("still").Root, ""), entry(w.Fixture("art").Root, ""))
	}
	s.tags["1"] = s.add(oci.MediaIndex, entries(about.Root, f.Root))
	c := converting(t, s, convert.Options{Packing: packing(t, "gzip")})
	d, err := c.Resolve(t.Context(), "1")
	must(t, err)
	index, err := oci.Fetch(t.Context(), c, d)
	must(t, err)
	sig, app := index.Manifests[0], index.Manifests[1]
	m, err := oci.Fetch(t.Context(), c, sig)
	must(t, err)
	if m.Subject.Digest != app.Digest || app.Digest == f.Root.Digest || m.Subject.Size != app.Size {
		t.Errorf("%s is about %v, not %s", sig.Digest, m.Subject, app.Digest)
	}
	sig.Annotations = nil
	if want := entries(sig, app); !bytes.Equal(index.Raw, want) {
		t.Errorf("got  %s\nwant %s", index.Raw, want)
	}
}

func TestConvertRanges(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 5000)
	c := converting(t, newShelf(f), convert.Options{Packing: packing(t, "gzip")})
	d, err := c.Resolve(t.Context(), "1")
	must(t, err)
	m, err := oci.Fetch(t.Context(), c, d)
	must(t, err)
	for _, x := range []oci.Descriptor{d, m.Layers[0]} {
		whole := contents(t, c, x)
		rc, err := c.OpenRange(t.Context(), x, 10, 20)
		must(t, err)
		part, err := io.ReadAll(rc)
		must(t, errors.Join(err, rc.Close()))
		if !bytes.Equal(part, whole[10:30]) {
			t.Errorf("range of %s", x.MediaType)
		}
		if st, err := c.Stat(t.Context(), oci.Descriptor{Digest: x.Digest}); err != nil || st.Size != x.Size {
			t.Errorf("stat %v, %v", st, err)
		}
	}
	if _, err := c.OpenRange(t.Context(), *m.Config, 0, 1); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("range where the source has none: %v", err)
	}
}
