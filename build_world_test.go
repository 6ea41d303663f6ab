// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// A plain builder puts one directory into all images.
type plain struct {
	name string
	in   *input.Input
	// before is called before each image is built; nil: nothing is.
	before func(t build.Target) error
}

func (p *plain) Name() string { return p.name }

func (p *plain) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	return e.Targets(ctx, want, build.Default{From: build.Scratch})
}

func (p *plain) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	if p.before != nil {
		if err := p.before(t); err != nil {
			return nil, err
		}
	}
	s, err := e.Stack(ctx, t.Base)
	if err == nil {
		_, err = s.Add(ctx, p.in, build.AddOptions{})
	}
	return s, err
}

// job builds an image with a directory, in which a file says text, on bases.
func (h *counted) job(text string, target string, bases ...string) dray.BuildJob {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "site")
	err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644))
	if err != nil {
		h.t.Fatal(err)
	}
	j := dray.BuildJob{Builder: &plain{name: "./site", in: input.Dir(dir, "/srv/site", layer.CreateOptions{})}}
	for _, b := range bases {
		j.Want.From = append(j.Want.From, h.name+"/"+b)
	}
	if target != "" {
		j.Targets = []string{h.name + "/" + target}
	}
	return j
}

// built builds and writes.
func built(t *testing.T, env dray.Env, o dray.BuildOptions, jobs ...dray.BuildJob) (*dray.Built, error) {
	t.Helper()
	c := dray.New(env)
	defer c.Close()
	b, err := c.Build(t.Context(), jobs, o)
	if err == nil {
		err = b.Run(t.Context())
	}
	return b, err
}

func mustBuild(t *testing.T, env dray.Env, o dray.BuildOptions, jobs ...dray.BuildJob) *dray.Built {
	t.Helper()
	b, err := built(t, env, o, jobs...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// putIndex makes an index of images that are in its repository.
func (h *counted) putIndex(name string, list ...oci.Descriptor) oci.Descriptor {
	h.t.Helper()
	x := oci.Bytes(oci.MediaIndex, jsonOf(h.t, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: append([]oci.Descriptor{}, list...)}))
	repo, tag := cutTag(name)
	f := ocitest.Fixture{Root: x.Descriptor(), Blobs: []oci.Blob{x}}
	if err := f.Push(h.t.Context(), h.repo(repo), tag); err != nil {
		h.t.Fatal(err)
	}
	return x.Descriptor()
}

// putPlatforms makes an index of images on one distribution.
func (h *counted) putPlatforms(name string, platforms ...string) oci.Descriptor {
	h.t.Helper()
	repo, _ := cutTag(name)
	var list []oci.Descriptor
	for n, text := range platforms {
		d := h.put(fmt.Sprint(repo, ":part", n), imageOf{platform: text, layers: [][]byte{tarOf(h.t, debian...), tarOf(h.t, tarFile{name: "etc/platform", text: text})}})
		p, err := oci.ParsePlatform(text)
		if err != nil {
			h.t.Fatal(err)
		}
		d.Platform = &p
		list = append(list, d)
	}
	return h.putIndex(name, list...)
}

func cutTag(name string) (repo, tag string) {
	repo, tag, _ = strings.Cut(name, ":")
	return repo, tag
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A notary attaches documents with a text to an image, and one to the root.
type notary struct{ text string }

func (n notary) Attest(_ context.Context, s build.Subject) (docs []build.Document, err error) {
	if n.text == "" {
		return nil, errors.New("no ink")
	}
	all := s.Images
	if s.Images[0].Descriptor.Digest != s.Descriptor.Digest {
		all = append(all, s)
	}
	for _, i := range all {
		docs = append(docs, build.Document{Subject: i.Descriptor, ArtifactType: "application/vnd.example.note", Data: []byte(n.text + string(i.Descriptor.Digest)), Name: "note"})
	}
	return docs, nil
}
