// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

// entries are the digests and names in index.json.
func entries(t testing.TB, file string) string {
	t.Helper()
	var index struct{ Manifests []oci.Descriptor }
	if err := json.Unmarshal([]byte(body(t, unpack(t, read(t, file)), "index.json")), &index); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range index.Manifests {
		out = append(out, d.Annotations["org.opencontainers.image.ref.name"]+"="+string(d.Digest))
	}
	return strings.Join(out, " ")
}

// wantRefused checks that nothing can be added to the archive, and why.
func wantRefused(t testing.TB, file, why string) {
	t.Helper()
	before := read(t, file)
	a := open(t, file, archive.Options{Write: true})
	_, err := a.Put(t.Context(), ocitest.Image(2, 1, 10).Blobs[0])
	wantErr(t, "put", err, oci.ErrUnsupported)
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%v does not say %s", err, why)
	}
	if !bytes.Equal(before, read(t, file)) {
		t.Error("the archive has changed")
	}
	wantAlone(t, file)
}

// Only what was published or tagged becomes an entry.
func TestEntries(t *testing.T) {
	t.Parallel()
	f, g, x := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10), ocitest.Index(3)
	F, G, X := "="+string(f.Root.Digest), "="+string(g.Root.Digest), "="+string(x.Root.Digest)
	type step struct {
		f     ocitest.Fixture
		names []string
	}
	for name, c := range map[string]struct {
		before ocitest.Fixture
		steps  []step
		want   string
	}{
		"index alone":                   {ocitest.Fixture{}, []step{{x, []string{"x"}}}, "x" + X},
		"index without a name":          {ocitest.Fixture{}, []step{{x, nil}}, X},
		"index beside an image":         {f, []step{{x, []string{"x"}}}, F + " x" + X},
		"in place of the one before":    {f, []step{{g, nil}}, G},
		"two of one session":            {ocitest.Fixture{}, []step{{f, nil}, {g, nil}}, F + " " + G},
		"two in place of one":           {f, []step{{g, nil}, {x, nil}}, G + " " + X},
		"the one before once more":      {f, []step{{f, nil}, {g, nil}}, F + " " + G},
		"index in place of one, a name": {f, []step{{x, nil}, {g, []string{"g"}}}, X + " g" + G},
	} {
		file := filepath.Join(t.TempDir(), "image.tar")
		if c.before.Blobs != nil {
			push(t, open(t, file, archive.Options{Write: true}), c.before)
		}
		a := open(t, file, archive.Options{Write: true})
		for _, s := range c.steps {
			add(t, a, s.f, s.names...)
		}
		commit(t, a)
		if got := entries(t, file); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// What was only put is dropped.
func TestOnlyPut(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	file := made(t, archive.OCI, f)
	before := read(t, file)
	a := open(t, file, archive.Options{Write: true})
	if err := ocitest.Index(2).Push(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	commit(t, a)
	if !bytes.Equal(before, read(t, file)) {
		t.Errorf("the archive has changed: %q", names(unpack(t, read(t, file))))
	}
	wantAlone(t, file)
}

func TestBad_082_EntriesNobodyKnows(t *testing.T) {
	t.Parallel()
	hello := "hello"
	hex := oci.FromBytes([]byte(hello)).Encoded()
	for name, entry := range map[string]string{
		"digest":       `"digest":"blake3:` + hex + `","size":5`,
		"size below 0": `"digest":"sha256:` + hex + `","size":-1`,
		"size as text": `"digest":"sha256:` + hex + `","size":"5"`,
	} {
		path := write(t, pack(t, file{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`},
			file{name: "blobs/blake3/" + hex, body: hello}, file{name: "blobs/sha256/" + hex, body: hello},
			file{name: "index.json", body: `{"schemaVersion":2,"manifests":[{"mediaType":"` + oci.MediaManifest + `",` + entry + `}]}`}))
		t.Log(name)
		wantRefused(t, path, "@0")
	}
	// What a manifest leads to that cannot be read may have any digest.
	m := `{"things":1}`
	d := oci.FromBytes([]byte(m))
	path := write(t, pack(t, file{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`}, file{name: "blobs/blake3/" + hex, body: hello}, file{name: "blobs/sha256/" + d.Encoded(), body: m},
		file{name: "index.json", body: fmt.Sprintf(`{"manifests":[{"mediaType":"application/vnd.x.manifest.v7+json","digest":%q,"size":%d}]}`, d, len(m))}))
	a := open(t, path, archive.Options{Write: true})
	add(t, a, ocitest.Image(1, 1, 10), "1")
	wantErr(t, "commit", a.Commit(t.Context()), oci.ErrUnsupported)
}

// Many entries of one large manifest cost as much as one.
func TestBad_088_EntriesOfOneManifest(t *testing.T) {
	t.Parallel()
	m := `{"schemaVersion":2,"mediaType":"` + oci.MediaManifest + `","annotations":{"x":"` + strings.Repeat("x", 3_500_000) + `"},` +
		`"config":{"mediaType":"application/x","digest":"` + string(oci.FromBytes(nil)) + `","size":0},"layers":[]}`
	d := oci.FromBytes([]byte(m))
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, oci.MediaManifest, d, len(m))
	index := `{"schemaVersion":2,"manifests":[` + strings.Repeat(entry+",", 9_999) + entry + `]}`
	path := write(t, pack(t, file{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`}, file{name: "blobs/sha256/" + d.Encoded(), body: m}, file{name: "index.json", body: index}))
	a := open(t, path, archive.Options{})
	for range 2 { // without the memory: minutes
		wantResolve(t, a, "", oci.Descriptor{MediaType: oci.MediaManifest, Digest: d, Size: int64(len(m))})
	}
}

func TestBad_088_ManyNames(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"manifest.json": `[{"Config":"c","RepoTags":[` + strings.Repeat(`"a:b",`, oci.MaxFanOut) + `"a:b"],"Layers":[]}]`,
		"repositories":  `{"a":{` + many(oci.MaxFanOut+1) + `}}`,
	} {
		_, err := open(t, write(t, pack(t, file{name: name, body: body})), archive.Options{Kind: archive.Docker}).Resolve(t.Context(), "")
		if wantErr(t, name, err, oci.ErrInvalid); err == nil || !strings.Contains(err.Error(), "names") {
			t.Error(err)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `%s"t%d":"x"`, ","[:min(i, 1)], i)
	}
	return b.String()
}

// What is written cannot be read by others before it is whole.
func TestModeOfThePart(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	usual, err := os.Stat(plain)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	for _, want := range []fs.FileMode{usual.Mode().Perm(), 0o600, 0o640} {
		if want != usual.Mode().Perm() {
			if err := os.Chmod(file, want); err != nil {
				t.Fatal(err)
			}
		}
		a := open(t, file, archive.Options{Write: true})
		add(t, a, ocitest.Image(uint64(want), 1, 10), "1")
		if fi, err := os.Stat(file + ".dray-part"); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("the part: %v, %v", fi, err)
		}
		commit(t, a)
		if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != want {
			t.Errorf("got %v, %v, want %v", fi, err, want)
		}
	}
}

// A link to nothing says where the archive is to be.
func TestLinkToNothing(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	f := ocitest.Image(1, 1, 10)
	link := filepath.Join(dir, "link.tar")
	for from, to := range map[string]string{link: "next.tar", filepath.Join(dir, "next.tar"): filepath.Join(other, "image.tar")} {
		if err := os.Symlink(to, from); err != nil {
			t.Skip(err)
		}
	}
	_, err := archive.Open(link, archive.Options{})
	wantErr(t, "read", err, oci.ErrNotFound)
	push(t, open(t, link, archive.Options{Write: true}), f, "1")
	if fi, err := os.Lstat(filepath.Join(dir, "next.tar")); err != nil || fi.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is gone: %v, %v", fi, err)
	}
	wantResolve(t, open(t, filepath.Join(other, "image.tar"), archive.Options{}), "1", f.Root)
	circle := filepath.Join(dir, "circle")
	if err := os.Symlink("circle", circle); err != nil {
		t.Fatal(err)
	}
	if _, err = archive.Open(circle, archive.Options{Write: true}); err == nil {
		t.Error("a circle leads somewhere")
	}
}

// The manifest of one image is a layer of another.
func TestLayerAndManifest(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 100)
	raw, err := content(t, open(t, made(t, archive.OCI, f), archive.Options{}), f.Root)
	if err != nil {
		t.Fatal(err)
	}
	config := f.Blobs[0].Descriptor()
	two := oci.Bytes(oci.MediaManifest, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oci.MediaManifest, config.MediaType, config.Digest, config.Size, oci.MediaLayer, f.Root.Digest, len(raw)))
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "image.tar")
	for _, a := range []*archive.Archive{open(t, file, archive.Options{Write: true}), open(t, "-", archive.Options{Write: true, Out: &out})} {
		for _, b := range append(f.Blobs[:len(f.Blobs)-1:len(f.Blobs)-1], oci.Bytes(oci.MediaLayer, raw)) {
			if _, err := a.Put(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		for name, m := range map[string]oci.Blob{"two": two, "one": f.Blob(f.Root.Digest)} {
			if err := a.Publish(t.Context(), m, name); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, a)
	}
	for _, a := range []*archive.Archive{open(t, file, archive.Options{}), open(t, "-", archive.Options{In: &out})} {
		wantResolve(t, a, "one", f.Root)
		wantGraph(t, a, f.Root)
		wantResolve(t, a, "two", two.Descriptor())
		wantGraph(t, a, two.Descriptor())
	}
}
