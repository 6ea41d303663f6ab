// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// mklayers REF FILE [platform=linux/amd64]: an image with the layers that FILE
// describes, in lines of
//
//	layer                  what follows is in the next layer
//	dir PATH
//	file PATH TEXT...
//	symlink PATH TARGET
//	link PATH TARGET       hard
//	gone PATH              a whiteout
//	opaque PATH            a directory that hides what lower layers have in it
func mkLayers(ts *testscript.TestScript, neg bool, args []string) {
	name, o, rest := words(ts, neg, args, "mklayers REF FILE [platform=P]")
	if len(rest) != 1 {
		ts.Fatalf("mklayers: want one file")
	}
	p, err := oci.ParsePlatform(cmp.Or(o["platform"], "linux/amd64"))
	ts.Check(err)
	var f ocitest.Fixture
	var layers []oci.Descriptor
	config := v1.Image{Platform: p, RootFS: v1.RootFS{Type: "layers"}}
	for _, text := range strings.Split(strings.TrimSpace("\n"+ts.ReadFile(rest[0])), "layer\n") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		plain := describedLayer(ts, text)
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
		ts.Check(err)
		_, err = z.Write(plain)
		ts.Check(err)
		ts.Check(z.Close())
		blob := oci.Bytes(oci.MediaLayerGzip, packed.Bytes())
		f.Blobs = append(f.Blobs, blob)
		layers = append(layers, blob.Descriptor())
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, oci.FromBytes(plain))
	}
	c := document(oci.MediaConfig, config)
	root := document(oci.MediaManifest, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, Config: c.Descriptor(), Layers: layers})
	f.Blobs = append(f.Blobs, c, root)
	f.Root = root.Descriptor()
	push(ts, name, f)
}

// describedLayer is the tar of one layer of a description.
func describedLayer(ts *testscript.TestScript, text string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		path, value, _ := strings.Cut(rest, " ")
		h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o644, ModTime: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Format: tar.FormatUSTAR}
		content := ""
		switch kind {
		case "":
			continue
		case "dir":
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, path+"/", 0o755
		case "file":
			content = value + "\n"
			h.Size = int64(len(content))
		case "symlink":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, value, 0o777
		case "link":
			h.Typeflag, h.Linkname = tar.TypeLink, value
		case "gone":
			i := strings.LastIndex(path, "/") + 1
			h.Name = path[:i] + ".wh." + path[i:]
		case "opaque":
			h.Name = path + "/.wh..wh..opq"
		default:
			ts.Fatalf("mklayers: what is %q?", line)
		}
		ts.Check(w.WriteHeader(h))
		_, err := w.Write([]byte(content))
		ts.Check(err)
	}
	ts.Check(w.Close())
	return b.Bytes()
}
