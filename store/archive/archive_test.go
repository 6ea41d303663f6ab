// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

func TestStore(t *testing.T) {
	t.Parallel()
	ocitest.TestStore(t, func(t *testing.T) oci.Store {
		return open(t, filepath.Join(t.TempDir(), "image.tar"), archive.Options{Write: true})
	})
}

// What was committed is read by others, and each blob was written once.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind archive.Kind
		f    ocitest.Fixture
		tag  string
	}{
		"oci image":    {archive.OCI, ocitest.Image(1, 2, 100_000), "any/thing goes"[:9]},
		"oci index":    {archive.OCI, ocitest.Index(2), "1.0"},
		"oci artifact": {archive.OCI, ocitest.Artifact(3, "x/y", nil), "ghcr.io/a/b:1"},
		"docker image": {archive.Docker, ocitest.Image(4, 3, 2_000_000), "ghcr.io/a/b:1"},
		"no layers":    {archive.Docker, ocitest.Image(5, 0, 0), "a/b:1"},
	} {
		file := made(t, c.kind, c.f, c.tag)
		wantAlone(t, file)
		a := open(t, file, archive.Options{Kind: c.kind})
		for _, n := range []string{c.tag, "", "@0", string(c.f.Root.Digest)} {
			wantResolve(t, a, n, c.f.Root)
		}
		wantGraph(t, a, c.f.Root)
		if got := tags(t, a); got != c.tag {
			t.Errorf("%s: tags %q", name, got)
		}
		extra := map[archive.Kind]int{archive.OCI: 2, archive.Docker: 4}[c.kind]
		if got := names(unpack(t, read(t, file))); len(got) != len(c.f.Blobs)+extra {
			t.Errorf("%s: members %q", name, got)
		}
		var out bytes.Buffer
		push(t, open(t, "-", archive.Options{Kind: c.kind, Write: true, Out: &out}), c.f, c.tag)
		if !bytes.Equal(out.Bytes(), read(t, file)) {
			t.Errorf("%s: the stream differs from the file", name)
		}
		a = open(t, "-", archive.Options{Kind: c.kind, In: &out})
		wantResolve(t, a, "", c.f.Root)
		wantGraph(t, a, c.f.Root)
	}
}

func TestBothKindsReadDockers(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 1000)
	file := made(t, archive.Docker, f, "busybox:1")
	a := open(t, file, archive.Options{Kind: archive.OCI})
	for _, n := range []string{"1", "docker.io/library/busybox:1", ""} {
		wantResolve(t, a, n, f.Root)
	}
	a = open(t, file, archive.Options{Kind: archive.Docker})
	for _, n := range []string{"busybox:1", "docker.io/library/busybox:1", "library/busybox:1", "@0"} {
		wantResolve(t, a, n, f.Root)
	}
	for _, n := range []string{"1", "busybox", "@1", "busybox:2"} {
		wantNothing(t, a, n)
	}
	if got := tags(t, a); got != "busybox:1" {
		t.Errorf("tags %q", got)
	}
	_, err := open(t, file, archive.Options{Write: true}).Stat(t.Context(), f.Root)
	wantErr(t, "write an OCI archive into it", err, oci.ErrInvalid)
	file = made(t, archive.OCI, f, "1")
	_, err = open(t, file, archive.Options{Kind: archive.Docker}).Resolve(t.Context(), "")
	wantErr(t, "read an OCI archive as Docker's", err, oci.ErrInvalid)
	if err == nil || !strings.Contains(err.Error(), "oci-archive:") {
		t.Errorf("%v gives no hint", err)
	}
}

// An archive gets another image and keeps what it had.
func TestAddTo(t *testing.T) {
	t.Parallel()
	for _, kind := range []archive.Kind{archive.OCI, archive.Docker} {
		f, g, h := ocitest.Image(1, 2, 1000), ocitest.Image(2, 1, 2_000_000), ocitest.Image(3, 1, 10)
		file := made(t, kind, f, "a/x:1", "a/x:2")
		a := open(t, file, archive.Options{Kind: kind, Write: true})
		if how, err := a.Put(t.Context(), f.Blobs[0]); err != nil || how != oci.Existed {
			t.Errorf("put of what is there: %v, %v", how, err)
		}
		push(t, a, g, "a/y:1", "a/x:2")
		push(t, a, h) // one more commit, without a name
		for _, a := range []*archive.Archive{a, open(t, file, archive.Options{Kind: kind})} {
			wantResolve(t, a, "a/x:1", f.Root)
			wantResolve(t, a, "a/x:2", g.Root)
			wantResolve(t, a, "a/y:1", g.Root)
			for _, x := range []ocitest.Fixture{f, g, h} {
				wantGraph(t, a, x.Root)
			}
		}
		// Without a name in place of the one without, and what that was is gone.
		i := ocitest.Image(4, 1, 10)
		push(t, open(t, file, archive.Options{Kind: kind, Write: true}), i)
		a = open(t, file, archive.Options{Kind: kind})
		wantGraph(t, a, i.Root)
		wantNothing(t, a, string(h.Root.Digest))
		if got := len(names(unpack(t, read(t, file)))); got != len(f.Blobs)+len(g.Blobs)+len(i.Blobs)+2+2*int(kind) {
			t.Errorf("%v: %d members: %q", kind, got, names(unpack(t, read(t, file))))
		}
		// The last name of an image takes it along.
		push(t, open(t, file, archive.Options{Kind: kind, Write: true}), i, "a/x:1")
		a = open(t, file, archive.Options{Kind: kind})
		wantResolve(t, a, "a/x:1", i.Root)
		wantNothing(t, a, string(f.Root.Digest))
		if got := tags(t, a); got != "a/x:1 a/x:2 a/y:1" {
			t.Errorf("%v: tags %q", kind, got)
		}
		wantAlone(t, file)
	}
}

// Writing the same once more writes nothing.
func TestAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range []archive.Kind{archive.OCI, archive.Docker} {
		f := ocitest.Image(1, 2, 1000)
		file := made(t, kind, f, "a/x:1")
		before, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, tags := range [][]string{{"a/x:1"}, {}} {
			a := open(t, file, archive.Options{Kind: kind, Write: true})
			if err := oci.Publish(t.Context(), a, f.Blob(f.Root.Digest), tags...); err != nil {
				t.Fatal(err)
			}
			commit(t, a)
		}
		after, err := os.Stat(file)
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("%v: the file was written again: %v", kind, err)
		}
		wantAlone(t, file)
	}
}

func TestReproducible(t *testing.T) {
	t.Parallel()
	for _, kind := range []archive.Kind{archive.OCI, archive.Docker} {
		var all [][]byte
		for range 3 {
			file := made(t, kind, ocitest.Image(1, 3, 1000), "a/b:1", "a/b:2")
			push(t, open(t, file, archive.Options{Kind: kind, Write: true}), ocitest.Image(2, 1, 500), "c/d:1")
			all = append(all, read(t, file))
		}
		if !bytes.Equal(all[0], all[1]) || !bytes.Equal(all[1], all[2]) {
			t.Errorf("%v: the same content gave other bytes", kind)
		}
	}
}

// Referrers stay beside what they are about, and go with it.
func TestReferrers(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		l     = layer 10
		image = image l
		next  = image l platform=linux/arm64
		sig   = artifact l type=application/x.sig subject=image
		late  = artifact l type=application/x.sig subject=sig
	`)
	file := made(t, archive.OCI, w.Fixture("image"))
	for _, name := range []string{"sig", "late", "sig"} {
		push(t, open(t, file, archive.Options{Write: true}), w.Fixture(name))
	}
	a := open(t, file, archive.Options{})
	wantResolve(t, a, "", w.Fixture("image").Root)
	for _, name := range []string{"sig", "late"} {
		wantGraph(t, a, w.Fixture(name).Root)
		if ok, err := a.Rooted(t.Context(), w.Fixture(name).Root); !ok || err != nil {
			t.Errorf("%s is no root: %v", name, err)
		}
	}
	b := open(t, file, archive.Options{Write: true})
	next := w.Fixture("next")
	push(t, b, ocitest.Fixture{Root: next.Root, Blobs: next.Blobs})
	for _, a := range []*archive.Archive{b, open(t, file, archive.Options{})} {
		wantResolve(t, a, "", next.Root)
		for _, name := range []string{"image", "sig", "late"} {
			wantNothing(t, a, string(w.Fixture(name).Root.Digest))
		}
	}
}

// What was put and then replaced does not stay in the file.
func TestDropped(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(1, 2, 1_500_000), ocitest.Image(2, 2, 1_200_000)
	file := filepath.Join(t.TempDir(), "image.tar")
	a := open(t, file, archive.Options{Write: true})
	if err := f.Push(t.Context(), a, "1"); err != nil {
		t.Fatal(err)
	}
	push(t, a, g, "1")
	if !bytes.Equal(read(t, file), read(t, made(t, archive.OCI, g, "1"))) {
		t.Errorf("the file holds %q", names(unpack(t, read(t, file))))
	}
	wantGraph(t, a, g.Root)
	wantAlone(t, file)
}

func TestNames(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	a := open(t, filepath.Join(t.TempDir(), "x.tar"), archive.Options{Write: true})
	if err := f.Push(t.Context(), a, "1", "ghcr.io/a/b:1", "x<y>&é"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "a b", "a\nb", "@1", string(f.Root.Digest), strings.Repeat("x", 1025), "\xff"} {
		wantErr(t, "tag "+bad, a.Tag(t.Context(), bad, f.Root), oci.ErrInvalid)
	}
	commit(t, a)
	if got := tags(t, a); got != "1 ghcr.io/a/b:1 x<y>&é" {
		t.Errorf("tags %q", got)
	}
}

// A name that only is the tag of a full one does not replace it.
func TestShortNames(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	var entries []string
	var files []file
	for name, x := range map[string]ocitest.Fixture{"a/f": f, "a/g": g} {
		entries = append(entries, `{"mediaType":"`+x.Root.MediaType+`","digest":"`+string(x.Root.Digest)+`","size":`+strconv.Itoa(int(x.Root.Size))+
			`,"annotations":{"org.opencontainers.image.ref.name":"1","io.containerd.image.name":"docker.io/`+name+`:1"}}`)
		for _, b := range x.Blobs {
			files = append(files, file{name: "blobs/sha256/" + b.Descriptor().Digest.Encoded(), body: string(mustRead(t, b))})
		}
	}
	files = append(files, file{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`}, file{name: "index.json", body: `{"manifests":[` + strings.Join(entries, ",") + `]}`})
	path := write(t, pack(t, files...))
	a := open(t, path, archive.Options{Write: true})
	wantResolve(t, a, "docker.io/a/f:1", f.Root)
	_, err := a.Resolve(t.Context(), "1")
	wantErr(t, "two have the tag", err, oci.ErrInvalid)
	h := ocitest.Image(3, 1, 10)
	push(t, a, h, "1")
	wantResolve(t, a, "1", h.Root)
	wantResolve(t, a, "docker.io/a/f:1", f.Root)
	wantResolve(t, a, "docker.io/a/g:1", g.Root)
}

func TestCompressedIsNotAddedTo(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	b := gz(t, string(read(t, made(t, archive.OCI, f, "1"))))
	path := write(t, []byte(b))
	_, err := open(t, path, archive.Options{Write: true}).Put(t.Context(), f.Blobs[0])
	wantErr(t, "put", err, oci.ErrUnsupported)
	if string(read(t, path)) != b {
		t.Error("the archive has changed")
	}
}

// Engines with containerd's store save an index, of which only one platform
// need be there.
func TestNativeNested(t *testing.T) {
	t.Parallel()
	x := ocitest.Index(1, "linux/amd64", "linux/arm64")
	index, err := oci.ParseManifest(x.Root.MediaType, mustRead(t, x.Blob(x.Root.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	root := index.Manifests[1]
	m, err := oci.ParseManifest(root.MediaType, mustRead(t, x.Blob(root.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	name := func(d oci.Descriptor) string { return "blobs/sha256/" + d.Digest.Encoded() }
	files := []file{{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`}, manifestOf(name(*m.Config), `["a/b:1"]`, name(m.Layers[0]), name(m.Layers[1])),
		{name: "index.json", body: `{"manifests":[{"mediaType":"` + x.Root.MediaType + `","digest":"` + string(x.Root.Digest) + `","size":` + strconv.Itoa(int(x.Root.Size)) + `}]}`}}
	for _, d := range append(m.Children(), x.Root, root) {
		files = append(files, file{name: name(d), body: string(mustRead(t, x.Blob(d.Digest)))})
	}
	a := docker(t, files...)
	wantResolve(t, a, "a/b:1", m.Descriptor)
	wantGraph(t, a, m.Descriptor)
}
