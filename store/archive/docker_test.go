// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

// layerTar is an uncompressed layer.
func layerTar(t testing.TB, n int) string {
	t.Helper()
	return string(pack(t, file{name: "file", body: string(ocitest.Random(uint64(n), 1000+n))}))
}

func gz(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zst(t testing.TB, s string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}

// config is one for plain layers.
func config(layers ...string) string {
	ids := make([]string, len(layers))
	for i, l := range layers {
		ids[i] = fmt.Sprintf("%q", oci.FromBytes([]byte(l)))
	}
	return fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%s]}}`, strings.Join(ids, ","))
}

// manifestOf is manifest.json with one image.
func manifestOf(config string, tags string, layers ...string) file {
	list, _ := json.Marshal(layers)
	return file{name: "manifest.json", body: fmt.Sprintf(`[{"Config":%q,"RepoTags":%s,"Layers":%s}]`, config, tags, list)}
}

func docker(t testing.TB, files ...file) *archive.Archive {
	t.Helper()
	return open(t, write(t, pack(t, files...)), archive.Options{Kind: archive.Docker})
}

func fetch(t testing.TB, a *archive.Archive, name string) *oci.Manifest {
	t.Helper()
	d, err := a.Resolve(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.Fetch(t.Context(), a, d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The forms of old and new engines, skopeo, podman and crane.
func TestDockerForms(t *testing.T) {
	t.Parallel()
	one, two := layerTar(t, 1), layerTar(t, 2)
	conf := config(one, two)
	id := func(s string) oci.Digest { return oci.FromBytes([]byte(s)) }
	for name, c := range map[string]struct {
		files []file
		types []string
		ids   []oci.Digest
	}{
		"docker 1.10 to 24, layers that repeat are links": {[]file{
			{name: "aa/", kind: tar.TypeDir}, {name: "aa/VERSION", body: "1.0"}, {name: "aa/json", body: "{}"}, {name: "aa/layer.tar", body: one},
			{name: "bb/layer.tar", body: two}, {name: "cc/layer.tar", kind: tar.TypeSymlink, link: "../bb/layer.tar"},
			{name: "conf.json", body: conf}, manifestOf("conf.json", `["a/b:1"]`, "aa/layer.tar", "cc/layer.tar"), {name: "repositories", body: "{}"},
		}, []string{oci.MediaDockerPlain, oci.MediaDockerPlain}, []oci.Digest{id(one), id(two)}},
		"hard link, ./ in names": {[]file{
			{name: "./1.tar", body: one}, {name: "./2.tar", body: two}, {name: "./3.tar", kind: tar.TypeLink, link: "./2.tar"},
			{name: "./conf.json", body: conf}, manifestOf("conf.json", `["a/b:1"]`, "1.tar", "./3.tar"),
		}, []string{oci.MediaDockerPlain, oci.MediaDockerPlain}, []oci.Digest{id(one), id(two)}},
		"crane": {[]file{
			{name: "sha256:conf", body: conf}, {name: "x.tar.gz", body: gz(t, one)}, {name: "y.tar.gz", body: gz(t, two)},
			manifestOf("sha256:conf", `["a/b:1"]`, "x.tar.gz", "y.tar.gz"),
		}, []string{oci.MediaDockerLayer, oci.MediaDockerLayer}, []oci.Digest{id(gz(t, one)), id(gz(t, two))}},
		"zstd": {[]file{
			{name: "c", body: conf}, {name: "x", body: zst(t, one)}, {name: "y", body: two}, manifestOf("c", `["a/b:1"]`, "x", "y"),
		}, []string{oci.MediaDockerZstd, oci.MediaDockerPlain}, []oci.Digest{id(zst(t, one)), id(two)}},
	} {
		a := docker(t, c.files...)
		m := fetch(t, a, "a/b:1")
		if m.Descriptor.MediaType != oci.MediaDockerManifest || m.Config.Digest != id(conf) || m.Config.MediaType != oci.MediaDockerConfig || len(m.Layers) != 2 {
			t.Errorf("%s: %s", name, m.Raw)
			continue
		}
		for i, d := range m.Layers {
			if d.Digest != c.ids[i] || d.MediaType != c.types[i] {
				t.Errorf("%s: layer %d is %+v", name, i, d)
			}
		}
		wantGraph(t, a, m.Descriptor)
		// A second one knows the same manifest without being asked for a name.
		b := docker(t, c.files...)
		wantGraph(t, b, m.Descriptor)
		wantResolve(t, b, string(m.Descriptor.Digest), m.Descriptor)
		r, err := b.OpenRange(t.Context(), m.Layers[1], 5, 3)
		if err != nil {
			t.Error(err)
			continue
		}
		_ = r.Close()
	}
}

func TestPackedArchives(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 50_000)
	plain := read(t, made(t, archive.OCI, f, "1"))
	for name, b := range map[string]string{"plain": string(plain), "gzip": gz(t, string(plain)), "zstd": zst(t, string(plain))} {
		temp := t.TempDir()
		for how, a := range map[string]*archive.Archive{
			"file":   open(t, write(t, []byte(b)), archive.Options{TempDir: temp}),
			"stream": open(t, "-", archive.Options{In: strings.NewReader(b), TempDir: temp}),
		} {
			wantResolve(t, a, "1", f.Root)
			wantGraph(t, a, f.Root)
			if list, err := os.ReadDir(temp); err != nil || len(list) != 0 {
				t.Errorf("%s %s: %d temporary files have a name", name, how, len(list))
			}
		}
	}
	_, err := open(t, "-", archive.Options{In: strings.NewReader(gz(t, string(plain))[:1000])}).Resolve(t.Context(), "")
	wantErr(t, "cut stream", err, oci.ErrInvalid)
	in, err := os.Open(write(t, plain))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	a := open(t, "-", archive.Options{In: in, TempDir: "/nowhere"}) // needs no copy
	wantResolve(t, a, "1", f.Root)
	wantGraph(t, a, f.Root)
}

// What docker save of engine 25 and later writes has index.json, whose manifest
// is used as it is; if it is of something else a manifest is made.
func TestNativeManifest(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 1000)
	files := unpack(t, read(t, made(t, archive.Docker, f, "a/b:1")))
	a := docker(t, files...)
	wantResolve(t, a, "a/b:1", f.Root)
	if got := fetch(t, a, "a/b:1"); got.Descriptor.Digest != f.Root.Digest {
		t.Errorf("%s", got.Raw)
	}
	m := fetch(t, a, "")
	blob := func(i int) string { return "blobs/sha256/" + m.Layers[i].Digest.Encoded() }
	for name, list := range map[string]file{
		"layers in another order": manifestOf("blobs/sha256/"+m.Config.Digest.Encoded(), `["a/b:1"]`, blob(1), blob(0)),
		"not all layers":          manifestOf("blobs/sha256/"+m.Config.Digest.Encoded(), `["a/b:1"]`, blob(0)),
	} {
		other := files
		for i, f := range files {
			if f.name == "manifest.json" {
				other = append(append(append([]file{}, files[:i]...), list), files[i+1:]...)
			}
		}
		if d, err := docker(t, other...).Resolve(t.Context(), ""); err == nil && d.Digest == f.Root.Digest {
			t.Errorf("%s: index.json was believed", name)
		}
	}
}

func TestDockerRefuses(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		l   = layer 100
		img = image l
		all = index img
		art = artifact l type=x/y
	`)
	a := open(t, filepath.Join(t.TempDir(), "x.tar"), archive.Options{Kind: archive.Docker, Write: true})
	for name, hint := range map[string]string{"all": "--platform", "art": "oci-archive:"} {
		f := w.Fixture(name)
		m, err := oci.ParseManifest(f.Root.MediaType, mustRead(t, f.Blob(f.Root.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{a.Admit(t.Context(), m, nil), f.Push(t.Context(), a)} {
			if wantErr(t, name, err, oci.ErrUnsupported); err != nil && !strings.Contains(err.Error(), hint) {
				t.Errorf("%s: %v gives no hint", name, err)
			}
		}
	}
	m, err := oci.ParseManifest(oci.MediaManifest, []byte(strings.Replace(string(mustRead(t, w.Fixture("img").Blob(w.Fixture("img").Root.Digest))), `.layer.v1.tar"`, `.layer.v1.tar+zstd"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "zstd", a.Admit(t.Context(), m, nil), oci.ErrUnsupported)
	f := ocitest.Image(1, 1, 10)
	if err := f.Push(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a/UPPER:1", "a:b:c", string(f.Root.Digest), "a@" + string(f.Root.Digest)} {
		wantErr(t, "tag "+name, a.Tag(t.Context(), name, f.Root), oci.ErrInvalid)
	}
	if err := a.Tag(t.Context(), "x", f.Root); err != nil {
		t.Error(err)
	}
	commit(t, a)
	if got := tags(t, a); got != "x:latest" {
		t.Errorf("tags %q", got)
	}
}

func mustRead(t testing.TB, b oci.Blob) []byte {
	t.Helper()
	r, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What a Docker engine reads in manifest.json.
func TestDockerDocuments(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(1, 2, 10), ocitest.Image(2, 1, 10)
	file := made(t, archive.Docker, f, "busybox:1", "ghcr.io/a/b:2", "localhost:5000/x:3")
	push(t, open(t, file, archive.Options{Kind: archive.Docker, Write: true}), g)
	files := unpack(t, read(t, file))
	var items []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal([]byte(body(t, files, "manifest.json")), &items); err != nil || len(items) != 2 {
		t.Fatalf("%v: %s", err, body(t, files, "manifest.json"))
	}
	if got := strings.Join(items[0].RepoTags, " "); got != "busybox:1 ghcr.io/a/b:2 localhost:5000/x:3" || items[1].RepoTags != nil {
		t.Errorf("tags %q and %q", got, items[1].RepoTags)
	}
	for _, item := range items {
		for _, name := range append(item.Layers, item.Config) {
			if alg, hex, _ := strings.Cut(strings.TrimPrefix(name, "blobs/"), "/"); string(oci.FromBytes([]byte(body(t, files, name)))) != alg+":"+hex {
				t.Errorf("member %s has other bytes", name)
			}
		}
	}
	for _, want := range []string{`"io.containerd.image.name":"docker.io/library/busybox:1"`, `"org.opencontainers.image.ref.name":"1"`} {
		if got := body(t, files, "index.json"); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

// Images of Docker before 1.10.
func TestLegacy(t *testing.T) {
	t.Parallel()
	one, two := layerTar(t, 1), layerTar(t, 2)
	low, top := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	files := []file{
		{name: low + "/json", body: `{"id":"` + low + `","created":"2015-01-01T00:00:00Z","container_config":{"Cmd":["/bin/sh","-c","#(nop) ADD x"]},"os":"linux","architecture":"amd64"}`},
		{name: low + "/layer.tar", body: one},
		{name: top + "/json", body: `{"id":"` + top + `","parent":"` + low + `","created":"2015-01-02T00:00:00Z","author":"me","config":{"Cmd":["run"]},"os":"linux","architecture":"amd64","Size":5}`},
		{name: top + "/layer.tar", body: two},
		{name: "repositories", body: `{"old":{"1":"` + top + `","base":"` + low + `"}}`},
	}
	a := docker(t, files...)
	if got := tags(t, a); got != "old:1 old:base" {
		t.Errorf("tags %q", got)
	}
	m := fetch(t, a, "old:1")
	wantGraph(t, a, m.Descriptor)
	raw, err := content(t, a, *m.Config)
	want := fmt.Sprintf(`{"architecture":"amd64","author":"me","config":{"Cmd":["run"]},"created":"2015-01-02T00:00:00Z",`+
		`"history":[{"created":"2015-01-01T00:00:00Z","created_by":"/bin/sh -c #(nop) ADD x"},{"created":"2015-01-02T00:00:00Z","author":"me"}],"os":"linux",`+
		`"rootfs":{"diff_ids":["%s","%s"],"type":"layers"}}`, oci.FromBytes([]byte(one)), oci.FromBytes([]byte(two)))
	if err != nil || string(raw) != want {
		t.Errorf("config is %s, %v\nwant %s", raw, err, want)
	}
	if got := fetch(t, a, "old:base"); len(got.Layers) != 1 {
		t.Errorf("%s", got.Raw)
	}
	// An addition writes it in the new form, with the same digests.
	file := write(t, pack(t, files...))
	push(t, open(t, file, archive.Options{Kind: archive.Docker, Write: true}), ocitest.Image(1, 1, 10), "new:1")
	a = open(t, file, archive.Options{Kind: archive.Docker})
	wantResolve(t, a, "old:1", m.Descriptor)
	wantGraph(t, a, m.Descriptor)
	for name, parent := range map[string]string{"circle": top, "missing": strings.Repeat("c", 64), "climbs": "../" + low} {
		list := slices.Clone(files)
		list[0].body = `{"parent":"` + parent + `"}`
		if _, err := docker(t, list...).Resolve(t.Context(), "old:1"); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}

// The config of Docker's foreign layers says where to get them.
func TestForeignLayers(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		l   = layer 100
		far = layer 200 foreign
		win = image far l platform=windows/amd64
	`)
	f := w.Fixture("win")
	m, err := oci.ParseManifest(f.Root.MediaType, mustRead(t, f.Blob(f.Root.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"-", filepath.Join(t.TempDir(), "x.tar")} {
		var out bytes.Buffer
		a := open(t, path, archive.Options{Kind: archive.Docker, Write: true, Out: &out})
		for _, b := range f.Blobs {
			if b.Descriptor().Digest == m.Layers[0].Digest {
				continue
			}
			if _, err := a.Put(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Tag(t.Context(), "win:1", f.Root); err != nil {
			t.Fatal(err)
		}
		commit(t, a)
		if path != "-" {
			out.Write(read(t, path))
		}
		if got := body(t, unpack(t, out.Bytes()), "manifest.json"); len(m.Layers[0].URLs) > 0 && !strings.Contains(got, m.Layers[0].URLs[0]) {
			t.Errorf("%s says nothing of the layer's URL", got)
		}
		b := open(t, "-", archive.Options{Kind: archive.Docker, In: &out})
		wantResolve(t, b, "win:1", f.Root)
	}
}

// Layers that an engine has already are left out of the stream.
func TestOmit(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 3, 1000)
	has := f.Layers()[1].Descriptor().Digest
	var out bytes.Buffer
	a := open(t, "-", archive.Options{Kind: archive.Docker, Write: true, Out: &out, Omit: func(d oci.Digest) bool { return d == has }})
	if how, err := a.Put(t.Context(), f.Layers()[1]); how != oci.Existed || err != nil {
		t.Errorf("put: %v, %v", how, err)
	}
	push(t, a, f, "x:1")
	for _, m := range unpack(t, out.Bytes()) {
		if strings.HasSuffix(m.name, has.Encoded()) {
			t.Error("the layer was sent")
		}
	}
	_, err := a.Put(t.Context(), ocitest.Image(2, 1, 10).Blobs[0])
	wantErr(t, "put after the end", err, oci.ErrInvalid)
}
