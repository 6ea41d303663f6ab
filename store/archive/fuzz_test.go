// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

func FuzzOCIArchive(f *testing.F) {
	for _, x := range []ocitest.Fixture{ocitest.Image(1, 1, 10), ocitest.Index(2, "linux/amd64"), ocitest.Artifact(3, "x/y", nil)} {
		files := unpack(f, read(f, made(f, archive.OCI, x, "1")))
		root := string(mustRead(f, x.Blob(x.Root.Digest)))
		f.Add(body(f, files, "index.json"), root, "blobs/sha256/"+x.Root.Digest.Encoded(), byte(0))
		f.Add(body(f, files, "index.json"), root, "oci-layout", byte(tar.TypeSymlink))
	}
	f.Add(`{"manifests":[{"digest":"sha256:../x"},{"annotations":{"io.containerd.image.name":"x"}}]}`, "", "x", byte(tar.TypeLink))
	known := ocitest.Image(1, 1, 10)
	f.Fuzz(func(t *testing.T, index, manifest, name string, kind byte) {
		files := []file{{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`}, {name: "index.json", body: index},
			{name: "blobs/sha256/" + oci.FromBytes([]byte(manifest)).Encoded(), body: manifest}}
		for _, b := range known.Blobs {
			files = append(files, file{name: "blobs/sha256/" + b.Descriptor().Digest.Encoded(), body: string(mustRead(t, b))})
		}
		fuzz(t, archive.OCI, packAny(append(files, file{name: name, kind: kind, link: index, body: manifest})))
	})
}

func FuzzDockerArchive(f *testing.F) {
	one := layerTar(f, 1)
	f.Add(manifestOf("c", `["x:1"]`, "l").body, config(one), []byte(one), "m", "l")
	f.Add(manifestOf("c", `null`, "m", "l").body, config(one, one), []byte(gz(f, one)), "m", "../l")
	f.Add(`[{"Config":"c","RepoTags":["a","b","a:latest"],"Layers":["l"],"LayerSources":{"x":{}}}]`, config(one), []byte(one), "repositories", "c")
	id := "abababababababababababababababababababababababababababababababab"
	f.Add("", `{"id":"`+id+`","os":"linux"}`, []byte(one), id+"/json", "c")
	f.Fuzz(func(t *testing.T, manifest, config string, layer []byte, name, link string) {
		files := []file{{name: "c", body: config}, {name: "l", body: string(layer)}, {name: name, kind: tar.TypeSymlink, link: link},
			{name: "blobs/sha256/" + oci.FromBytes(layer).Encoded(), body: string(layer)}}
		if manifest != "" {
			files = append(files, file{name: "manifest.json", body: manifest})
		} else {
			files = append(files, file{name: "repositories", body: `{"old":{"1":"` + id + `"}}`}, file{name: id + "/layer.tar", body: string(layer)})
		}
		fuzz(t, archive.Docker, packAny(files))
	})
}

// FuzzTar is given whole archives of both kinds.
func FuzzTar(f *testing.F) {
	b := read(f, made(f, archive.Docker, ocitest.Image(1, 1, 10), "a/b:1"))
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte(gz(f, string(b))))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzz(t, archive.OCI, b)
		fuzz(t, archive.Docker, b)
	})
}

// packAny makes a tar of what can be in one.
func packAny(files []file) []byte {
	var b bytes.Buffer
	for _, f := range files {
		var one bytes.Buffer
		w := tar.NewWriter(&one)
		h := &tar.Header{Name: f.name, Typeflag: f.kind, Size: int64(len(f.body)), Mode: 0o644, Linkname: f.link}
		if f.kind == 0 {
			h.Typeflag, h.Linkname = tar.TypeReg, ""
		} else if f.kind != tar.TypeReg {
			h.Size, f.body = 0, ""
		}
		if w.WriteHeader(h) != nil {
			continue
		}
		if _, err := w.Write([]byte(f.body)); err != nil || w.Flush() != nil {
			continue
		}
		b.Write(one.Bytes())
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

// fuzz reads all that an archive names, and adds to it: what could be read
// before can be read after that.
func fuzz(t *testing.T, kind archive.Kind, b []byte) {
	a := open(t, "-", archive.Options{Kind: kind, In: bytes.NewReader(b)})
	whole := map[string]oci.Descriptor{}
	try := func(name string) {
		d, err := a.Resolve(t.Context(), name)
		if err == nil {
			if err = graph(t, a, d); err == nil {
				whole[name] = d
			}
		}
		wantKind(t, err)
	}
	for name, err := range a.Tags(t.Context()) {
		if err == nil {
			try(name)
		}
		wantKind(t, err)
	}
	for _, name := range []string{"", "@0", "@1"} {
		try(name)
	}
	file := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, file, archive.Options{Kind: kind, Write: true})
	x := ocitest.Image(99, 1, 10)
	err := x.Push(t.Context(), c, "fuzz.example/added:1")
	if err == nil {
		err = c.Commit(t.Context())
	}
	if wantKind(t, err); err != nil {
		if !bytes.Equal(b, read(t, file)) {
			t.Error("a failed addition changed the archive")
		}
		return
	}
	c = open(t, file, archive.Options{Kind: kind})
	wantResolve(t, c, "fuzz.example/added:1", x.Root)
	wantGraph(t, c, x.Root)
	for name, d := range whole {
		if name != "" && name[0] != '@' && name != "fuzz.example/added:1" {
			wantResolve(t, c, name, d)
			wantGraph(t, c, d)
		}
	}
}

// wantKind checks that an error says what is wrong.
func wantKind(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{nil, oci.ErrInvalid, oci.ErrCorrupt, oci.ErrNotFound, oci.ErrUnsupported} {
		if errors.Is(err, kind) {
			return
		}
	}
	var path *fs.PathError
	if !errors.As(err, &path) && err != io.ErrUnexpectedEOF {
		t.Errorf("error without a kind: %v", err)
	}
}
