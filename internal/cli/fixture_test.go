// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store"
	"github.com/dray-tools/dray/store/registry"
)

// push puts a fixture where a reference says, with a client of its own.
func push(ts *testscript.TestScript, name string, f ocitest.Fixture) {
	ctx := context.Background()
	c := transport.New(transport.Options{})
	defer c.Close()
	r, s := open(ts, c, name)
	ts.Check(f.Push(ctx, s))
	if r.Name != "" {
		ts.Check(s.Tag(ctx, r.Name, f.Root))
	}
}

func open(ts *testscript.TestScript, c *transport.Client, name string) (ref.Ref, oci.Store) {
	r, err := ref.ParseAny(name)
	ts.Check(err)
	if r.Scheme == ref.Layout {
		r.Path = ts.MkAbs(r.Path)
	}
	s, err := store.Open(r, true, store.Env{Registry: func(r ref.Ref) (*registry.Registry, error) {
		return registry.New(transport.Endpoint{Host: r.Host}, registry.Options{Client: c}), nil
	}})
	ts.Check(err)
	return r, s
}

// words sorts the arguments of a fixture into options key=value and others.
func words(ts *testscript.TestScript, neg bool, args []string, usage string) (name string, options map[string]string, rest []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: %s", usage)
	}
	options = map[string]string{}
	for _, a := range args[1:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			options[k] = v
		} else {
			rest = append(rest, a)
		}
	}
	return args[0], options, rest
}

func number(ts *testscript.TestScript, s string, or int) int {
	if s == "" {
		return or
	}
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

// mkimage REF [seed=1] [layers=2] [size=2000] [platform=linux/amd64]
// [label=text] [foreign=URL]: an image that a build could have made. Layer 0
// depends on platform and size alone: images with the same of these share a
// base. With foreign it has Docker's media types, as images of Windows have, and
// layer 0 is at URL/DIGEST and nowhere else.
func mkImage(ts *testscript.TestScript, neg bool, args []string) {
	name, o, _ := words(ts, neg, args, "mkimage REF [seed=N] [layers=N] [size=N] [platform=P] [label=TEXT] [foreign=URL]")
	push(ts, name, image(ts, o, cmp.Or(o["platform"], "linux/amd64")))
}

// mkindex REF [options of mkimage] platform...: an index of such images.
func mkIndex(ts *testscript.TestScript, neg bool, args []string) {
	name, o, platforms := words(ts, neg, args, "mkindex REF [options] platform...")
	var f ocitest.Fixture
	var children []oci.Descriptor
	for _, p := range platforms {
		child := image(ts, o, p)
		f.Blobs = append(f.Blobs, child.Blobs...)
		children = append(children, child.Root)
	}
	root := document(oci.MediaIndex, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: children})
	f.Root, f.Blobs = root.Descriptor(), append(f.Blobs, root)
	push(ts, name, f)
}

// mkartifact SUBJECT [seed=1] [type=T] [tag=T] [as=sig]: an artifact that
// refers to what SUBJECT names; with as, by a tag sha256-….sig instead of a
// subject.
func mkArtifact(ts *testscript.TestScript, neg bool, args []string) {
	name, o, _ := words(ts, neg, args, "mkartifact SUBJECT [seed=N] [type=T] [tag=T] [as=sig|att|sbom]")
	c := transport.New(transport.Options{})
	defer c.Close()
	r, s := open(ts, c, name)
	subject, err := s.Resolve(context.Background(), r.Target())
	ts.Check(err)
	seed, kind := number(ts, o["seed"], 1), cmp.Or(o["type"], "application/spdx+json")
	if o["as"] != "" {
		tag := strings.ReplaceAll(string(subject.Digest), ":", "-") + "." + o["as"]
		push(ts, r.WithTag(tag).String(), ocitest.Artifact(uint64(seed), kind, nil))
		return
	}
	to := r.Repo()
	to.Name = o["tag"]
	push(ts, to.String(), ocitest.Artifact(uint64(seed), kind, &subject))
}

func image(ts *testscript.TestScript, o map[string]string, platform string) ocitest.Fixture {
	p, err := oci.ParsePlatform(platform)
	ts.Check(err)
	seed, n, size := number(ts, o["seed"], 1), number(ts, o["layers"], 2), number(ts, o["size"], 2000)
	made := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	config := v1.Image{Created: &made, Author: "dray", Platform: p, RootFS: v1.RootFS{Type: "layers"}, Config: v1.ImageConfig{
		User: "65532", Env: []string{"PATH=/usr/bin:/bin"}, Entrypoint: []string{"/app"}, Cmd: []string{"--serve"}, WorkingDir: "/data",
		Labels: map[string]string{"org.opencontainers.image.version": strconv.Itoa(seed)}, ExposedPorts: map[string]struct{}{"8080/tcp": {}}}}
	if o["label"] != "" {
		config.Config.Labels["note"] = strings.NewReplacer(`\e`, "\x1b", `\u`, "\u202e", "LONG", strings.Repeat("long ", 10_000)).Replace(o["label"])
	}
	var f ocitest.Fixture
	var layers []oci.Descriptor
	for i := range n {
		h := fnv.New64a()
		if i == 0 {
			fmt.Fprint(h, platform, size)
		} else {
			fmt.Fprint(h, platform, size, seed, i)
		}
		blob, id := layer(ts, h.Sum64(), size)
		d := blob.Descriptor()
		if o["foreign"] != "" {
			d.MediaType = oci.MediaDockerLayer
		}
		if o["foreign"] != "" && i == 0 {
			d.MediaType, d.URLs = oci.MediaDockerForeign, []string{o["foreign"] + "/" + string(d.Digest)}
		} else {
			f.Blobs = append(f.Blobs, blob)
		}
		layers = append(layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, id)
	}
	kind, configKind := oci.MediaManifest, oci.MediaConfig
	if o["foreign"] != "" {
		kind, configKind = oci.MediaDockerManifest, oci.MediaDockerConfig
	}
	c := document(configKind, config)
	root := document(kind, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: kind, Config: c.Descriptor(), Layers: layers})
	f.Blobs = append(f.Blobs, c, root)
	f.Root = root.Descriptor()
	f.Root.Platform = &p
	return f
}

// layer is a tar of one file of random bytes. It is stored in gzip's form
// without compression, so that no version of a compressor changes the digest.
func layer(ts *testscript.TestScript, seed uint64, size int) (oci.Blob, oci.Digest) {
	var plain, packed bytes.Buffer
	t := tar.NewWriter(&plain)
	ts.Check(t.WriteHeader(&tar.Header{Name: "file-" + strconv.FormatUint(seed, 16), Mode: 0o644, Size: int64(size), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}))
	_, err := t.Write(ocitest.Random(seed, size))
	ts.Check(err)
	ts.Check(t.Close())
	z, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	ts.Check(err)
	_, err = z.Write(plain.Bytes())
	ts.Check(err)
	ts.Check(z.Close())
	return oci.Bytes(oci.MediaLayerGzip, packed.Bytes()), oci.FromBytes(plain.Bytes())
}

func document(mediaType string, v any) oci.Blob {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return oci.Bytes(mediaType, raw)
}
