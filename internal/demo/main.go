// SPDX-License-Identifier: Apache-2.0

// Demo makes the images of `make demo`: it compiles a program for several
// platforms and writes an image of each, and an index of them, into an OCI
// layout.
//
//	demo DIR
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/layout"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo DIR")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	store, err := layout.Open(dir, layout.Options{Create: true})
	if err != nil {
		return err
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	zones, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return err
	}
	base, err := newLayer("usr/share/zoneinfo.zip", 0o644, zones)
	if err != nil {
		return err
	}
	index := manifest{MediaType: oci.MediaIndex}
	for _, name := range []string{"linux/amd64", "linux/arm64", "windows/amd64"} {
		p, err := oci.ParsePlatform(name)
		if err != nil {
			return err
		}
		d, err := image(ctx, store, p, base)
		if err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, d)
	}
	index.Annotations = map[string]string{"org.opencontainers.image.title": "hello"}
	b, err := index.blob()
	if err != nil {
		return err
	}
	return oci.Publish(ctx, store, b, "1.0")
}

// image compiles the program and stores the image of one platform.
func image(ctx context.Context, store oci.Store, p oci.Platform, base layer) (oci.Descriptor, error) {
	path := "app/hello"
	if p.OS == "windows" {
		path += ".exe"
	}
	program, err := compile(ctx, p)
	if err != nil {
		return oci.Descriptor{}, err
	}
	app, err := newLayer(path, 0o755, program)
	if err != nil {
		return oci.Descriptor{}, err
	}
	config, err := json.Marshal(map[string]any{
		"os": p.OS, "architecture": p.Architecture, "config": map[string]any{"Entrypoint": []string{"/" + path}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []oci.Digest{base.diffID, app.diffID}},
		"history": []map[string]string{{"created_by": "demo: time zones"}, {"created_by": "demo: hello"}},
	})
	if err != nil {
		return oci.Descriptor{}, err
	}
	m := manifest{MediaType: oci.MediaManifest}
	for _, b := range []oci.Blob{oci.Bytes(oci.MediaConfig, config), base.Blob, app.Blob} {
		if _, err := store.Put(ctx, b); err != nil {
			return oci.Descriptor{}, err
		}
		if d := b.Descriptor(); d.MediaType == oci.MediaConfig {
			m.Config = &d
		} else {
			m.Layers = append(m.Layers, d)
		}
	}
	b, err := m.blob()
	if err != nil {
		return oci.Descriptor{}, err
	}
	d := b.Descriptor()
	_, err = store.Put(ctx, b)
	d.Platform = &p
	return d, err
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        *oci.Descriptor   `json:"config,omitempty"`
	Layers        []oci.Descriptor  `json:"layers,omitempty"`
	Manifests     []oci.Descriptor  `json:"manifests,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func (m manifest) blob() (oci.Blob, error) {
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	return oci.Bytes(m.MediaType, raw), err
}

func compile(ctx context.Context, p oci.Platform) ([]byte, error) {
	out, err := os.CreateTemp("", "hello-*")
	if err != nil {
		return nil, err
	}
	out.Close()
	defer os.Remove(out.Name())
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out.Name(), "./internal/demo/hello")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(msg)))
	}
	return os.ReadFile(out.Name())
}

// A layer is a compressed tar and the digest of what is in it.
type layer struct {
	oci.Blob
	diffID oci.Digest
}

func newLayer(path string, mode int64, content []byte) (layer, error) {
	var plain, packed bytes.Buffer
	t := tar.NewWriter(&plain)
	h := &tar.Header{Name: path, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := t.WriteHeader(h); err != nil {
		return layer{}, err
	}
	if _, err := t.Write(content); err != nil {
		return layer{}, err
	}
	if err := t.Close(); err != nil {
		return layer{}, err
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		return layer{}, err
	}
	if err := z.Close(); err != nil {
		return layer{}, err
	}
	return layer{oci.Bytes(oci.MediaLayerGzip, packed.Bytes()), oci.FromBytes(plain.Bytes())}, nil
}
