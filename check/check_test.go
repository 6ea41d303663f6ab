// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/check"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
)

// lines are findings as "severity code platform layer path".
func lines(list []check.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %d %s", f.Severity, f.Code, f.Platform, f.Layer, f.Path)), " "))
	}
	return out
}

func find(t *testing.T, p *place, root oci.Descriptor, o check.Options, want ...string) ([]check.Finding, check.Stats) {
	t.Helper()
	got, stats, err := check.Graph(t.Context(), p, root, o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(lines(got), want) {
		t.Errorf("found %q\n want %q\n%v", lines(got), want, got)
	}
	for _, f := range got {
		if f.Digest == "" || f.Text == "" {
			t.Errorf("finding without digest or text: %+v", f)
		}
	}
	for d, n := range p.opened {
		if n > 1 {
			t.Errorf("%s was read %d times", d, n)
		}
	}
	return got, stats
}

func TestGood(t *testing.T) {
	t.Parallel()
	p := newPlace()
	shared := tarOf(t, "etc/ etc/passwd=root bin->usr/bin usr/ usr/bin/ usr/bin/sh=x usr/bin/ash=>usr/bin/sh")
	child := func(name, mediaType string) oci.Descriptor {
		i := newImage(t, p).layer(mediaType, shared).layer(mediaType, tarOf(t, "app="+name+" .wh.etc app2=>app"))
		i.config.Platform = *on(oci.Descriptor{}, name).Platform
		i.config.History = []image.History{{}, {EmptyLayer: true}, {}}
		return on(i.put(), name)
	}
	attestation := newImage(t, p)
	attestation.config.Platform = oci.Platform{OS: "unknown", Architecture: "unknown"}
	attestation.manifest.Layers = []oci.Descriptor{p.put("application/vnd.in-toto+json", []byte("{}"))}
	unknown := attestation.put()
	unknown.Platform = &oci.Platform{OS: "unknown", Architecture: "unknown"}
	root := p.index(t, child("linux/amd64", oci.MediaLayerGzip), child("linux/arm64/v8", oci.MediaLayerGzip),
		p.index(t, child("linux/arm/v7", oci.MediaLayerZstd)), child("windows/amd64:10.0.1", oci.MediaLayer), unknown)
	_, stats := find(t, p, root, check.Options{})
	want := check.Stats{Indexes: 2, Images: 4, Artifacts: 1, Layers: 7, Bytes: stats.Bytes}
	if stats != want {
		t.Errorf("stats are %+v, want %+v", stats, want)
	}
	var total int64
	for _, b := range p.blobs {
		total += int64(len(b))
	}
	if stats.Bytes != total {
		t.Errorf("%d bytes were read, want each once: %d", stats.Bytes, total)
	}
}

func TestStores(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]ocitest.Fixture{"image": ocitest.Image(1, 3, 100_000), "index": ocitest.Index(2), "artifact": ocitest.Artifact(3, "application/x", nil)} {
		st, err := mem.New().Repository(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Push(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		for _, fast := range []bool{false, true} {
			got, _, err := check.Graph(t.Context(), st, f.Root, check.Options{Fast: fast})
			if err != nil || len(got) > 0 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
}

// Each kind of finding, once.
func TestFindings(t *testing.T) {
	t.Parallel()
	flip := func(b []byte) []byte { c := bytes.Clone(b); c[len(c)/2] ^= 1; return c }
	layer0 := func(i *img) oci.Digest { return i.manifest.Layers[0].Digest }
	for _, c := range []struct {
		name string
		make func(i *img) oci.Descriptor
		want []string
	}{
		{"nothing", func(i *img) oci.Descriptor { return i.put() }, nil},
		{"missing layer", func(i *img) oci.Descriptor { d := i.put(); delete(i.p.blobs, layer0(i)); return d }, []string{"error missing 1"}},
		{"missing config", func(i *img) oci.Descriptor { d := i.put(); delete(i.p.blobs, i.manifest.Config.Digest); return d }, []string{"error missing 0"}},
		{"missing child", func(i *img) oci.Descriptor { d := i.put(); delete(i.p.blobs, d.Digest); return i.p.index(i.t, d) }, []string{"error missing 0"}},
		{"corrupt layer", func(i *img) oci.Descriptor {
			d := i.put()
			i.p.blobs[layer0(i)] = flip(i.p.blobs[layer0(i)])
			return d
		}, []string{"error corrupt 1"}},
		{"short layer", func(i *img) oci.Descriptor {
			d := i.put()
			i.p.blobs[layer0(i)] = i.p.blobs[layer0(i)][:20]
			return d
		}, []string{"error corrupt 1"}},
		{"corrupt config", func(i *img) oci.Descriptor {
			d := i.put()
			c := i.manifest.Config.Digest
			i.p.blobs[c] = flip(i.p.blobs[c])
			return d
		}, []string{"error corrupt 0"}},
		{"corrupt root", func(i *img) oci.Descriptor { d := i.put(); i.p.blobs[d.Digest] = flip(i.p.blobs[d.Digest]); return d }, []string{"error corrupt 0"}},
		{"not a manifest", func(i *img) oci.Descriptor {
			return i.p.index(i.t, i.put(), i.p.put(oci.MediaManifest, []byte(`{"schemaVersion":2,"layers":[],"layers":[]}`)))
		}, []string{"error manifest 0"}},
		{"wrong data", func(i *img) oci.Descriptor { i.manifest.Layers[0].Data = []byte("x"); return i.put() }, []string{"error data 0"}},
		{"data does not stand for a blob", func(i *img) oci.Descriptor {
			i.manifest.Layers[0].Data = i.p.blobs[layer0(i)]
			d := i.put()
			delete(i.p.blobs, layer0(i))
			return d
		}, []string{"error missing 1"}},
		{"two sizes", func(i *img) oci.Descriptor {
			d := i.put()
			wrong := d
			wrong.Size++
			return i.p.index(i.t, d, wrong)
		}, []string{"error conflict 0"}},
		{"no subject", func(i *img) oci.Descriptor {
			i.manifest.Subject = &oci.Descriptor{MediaType: oci.MediaManifest, Digest: oci.FromBytes([]byte("gone")), Size: 4}
			return i.put()
		}, []string{"note subject 0"}},
		{"history", func(i *img) oci.Descriptor { i.config.History = []image.History{{}, {}}; return i.put() }, []string{"warning history 0"}},
		{"no platform", func(i *img) oci.Descriptor { i.config.OS = ""; return i.put() }, []string{"warning config 0"}},
		{"rootfs", func(i *img) oci.Descriptor { i.config.RootFS.Type = "x"; return i.put() }, []string{"warning config 0"}},
		{"architecture", func(i *img) oci.Descriptor { return i.p.index(i.t, on(i.put(), "linux/arm64")) }, []string{"error platform linux/arm64 0"}},
		{"variant", func(i *img) oci.Descriptor { return i.p.index(i.t, on(i.put(), "linux/amd64/v3")) }, []string{"warning platform linux/amd64/v3 0"}},
		{"two images for a platform", func(i *img) oci.Descriptor {
			d := i.put()
			i.manifest.Config.Digest, i.config.Author = "", "another"
			return i.p.index(i.t, on(d, "linux/amd64"), on(d, "linux/amd64"), on(i.put(), "linux/amd64"))
		}, []string{"warning platform 0"}},
		{"os version", func(i *img) oci.Descriptor {
			i.config.OSVersion = "10.0.1"
			return i.p.index(i.t, on(i.put(), "linux/amd64:10.0.2"))
		}, []string{"error platform linux/amd64:10.0.2 0"}},
		{"docker in oci", func(i *img) oci.Descriptor { i.manifest.Config.MediaType = oci.MediaDockerConfig; return i.put() }, []string{"warning mix 0"}},
		{"oci in docker", func(i *img) oci.Descriptor { i.manifest.MediaType = oci.MediaDockerManifest; return i.put() }, []string{"warning mix 0"}},
		{"foreign", func(i *img) oci.Descriptor {
			i.manifest.Layers[0].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
			delete(i.p.blobs, layer0(i))
			return i.put()
		}, []string{"note foreign 1"}},
		{"not gzip", func(i *img) oci.Descriptor {
			d := i.p.put(oci.MediaLayerGzip, []byte("\x1f\x8b nothing"))
			i.manifest.Layers[0] = d
			return i.put()
		}, []string{"error unpack 1"}},
		{"cut gzip", func(i *img) oci.Descriptor {
			b := i.p.blobs[layer0(i)]
			i.manifest.Layers[0] = i.p.put(oci.MediaLayerGzip, b[:len(b)-9])
			return i.put()
		}, []string{"error unpack 1"}},
		{"not tar", func(i *img) oci.Descriptor { return i.layer(oci.MediaLayer, bytes.Repeat([]byte("x"), 2000)).put() }, []string{"error tar 2"}},
		{"same directory", func(i *img) oci.Descriptor { return i.tar("d/ d/f=x d/").put() }, []string{"warning duplicate 2 /d"}},
		{"same file", func(i *img) oci.Descriptor { return i.tar("f=x ./f=x").put() }, []string{"warning duplicate 2 /f"}},
		{"other content", func(i *img) oci.Descriptor { return i.tar("f=x f=y").put() }, []string{"error duplicate 2 /f"}},
		{"other kind", func(i *img) oci.Descriptor { return i.tar("f=x f->x").put() }, []string{"error duplicate 2 /f"}},
		{"link to nothing", func(i *img) oci.Descriptor { return i.tar("a=>b").put() }, []string{"error hard-link 2 /a"}},
		{"link to later", func(i *img) oci.Descriptor { return i.tar("a=>b b=x").put() }, []string{"error hard-link 2 /a"}},
		{"link to a directory", func(i *img) oci.Descriptor { return i.tar("b/ a=>b").put() }, []string{"error hard-link 2 /a"}},
		{"link below", func(i *img) oci.Descriptor { return i.tar("a=>base").put() }, []string{"warning hard-link 2 /a"}},
		{"link to a directory below", func(i *img) oci.Descriptor { return i.tar("d/ d/f=x").tar("a=>d").put() }, []string{"error hard-link 3 /a"}},
		{"link to what went", func(i *img) oci.Descriptor { return i.tar(".wh.base=").tar("a=>base").put() }, []string{"error hard-link 3 /a"}},
		{"link through a link", func(i *img) oci.Descriptor { return i.tar("d->e e/ e/f=x").tar("a=>d/f").put() }, nil},
		{"link through a file", func(i *img) oci.Descriptor { return i.tar("a=>base/f").put() }, []string{"error hard-link 2 /a"}},
		{"link through opaque", func(i *img) oci.Descriptor { return i.tar("d/ d/f=x").tar("d/.wh..wh..opq= a=>d/f").put() }, []string{"error hard-link 3 /a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace()
			root := c.make(newImage(t, p).tar("base=1"))
			find(t, p, root, check.Options{}, c.want...)
		})
	}
}

// A root is a manifest, whatever its descriptor says.
func TestOddRoot(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{"", "application/octet-stream"} {
		p := newPlace()
		root := newImage(t, p).tar("f=x f=y").put()
		root.MediaType = mediaType
		find(t, p, root, check.Options{}, "error duplicate 1 /f")
		q := newPlace()
		find(t, q, q.put(mediaType, []byte("no manifest")), check.Options{}, "error manifest 0")
	}
}

// A fast check reads no layer.
func TestFast(t *testing.T) {
	t.Parallel()
	p := newPlace()
	i := newImage(t, p).tar("a=1").tar("b=2").tar("c=3")
	root := i.put()
	p.blobs[i.manifest.Layers[0].Digest] = p.blobs[i.manifest.Layers[0].Digest][:9]
	delete(p.blobs, i.manifest.Layers[1].Digest)
	_, stats := find(t, p, root, check.Options{Fast: true}, "error size 1", "error missing 2")
	for _, l := range i.manifest.Layers {
		if p.opened[l.Digest] > 0 {
			t.Error("a layer was read")
		}
	}
	if stats.Layers != 3 {
		t.Errorf("stats %+v", stats)
	}
}

// A layer in several images is read once, and what is wrong with it said once.
func TestSharedLayer(t *testing.T) {
	t.Parallel()
	p := newPlace()
	var children []oci.Descriptor
	for _, a := range []string{"amd64", "arm64", "s390x"} {
		i := newImage(t, p).tar("f=x f=y a=>b").tar("own=" + a)
		i.config.Architecture = a
		children = append(children, on(i.put(), "linux/"+a))
	}
	find(t, p, p.index(t, children...), check.Options{}, "error duplicate linux/amd64 1 /f", "error hard-link linux/amd64 1 /a")
}

// What keeps the check from being done is an error, and no finding.
func TestErrors(t *testing.T) {
	t.Parallel()
	p := newPlace()
	i := newImage(t, p).tar("a=1")
	root := i.put()
	for _, d := range []oci.Digest{root.Digest, i.manifest.Config.Digest, i.manifest.Layers[0].Digest} {
		for _, kind := range []error{oci.ErrBusy, oci.ErrDenied, context.Canceled} {
			p.fail = map[oci.Digest]error{d: oci.Errorf(kind, "broken line: %w", oci.ErrCorrupt)}
			if kind != oci.ErrBusy && kind != context.Canceled {
				p.fail[d] = kind
			}
			if _, _, err := check.Graph(t.Context(), p, root, check.Options{}); !errors.Is(err, kind) {
				t.Errorf("%v: %v", kind, err)
			}
		}
	}
	if _, _, err := check.Graph(t.Context(), newPlace(), root, check.Options{}); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("a root that is not there: %v", err)
	}
}

// A line that breaks within a layer is no broken layer, whatever its
// decompressor makes of it.
func TestBrokenLine(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{oci.MediaLayer, oci.MediaLayerGzip, oci.MediaLayerZstd} {
		st, err := mem.New().Repository(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		p := newPlace()
		i := newImage(t, p).layer(mediaType, tarOf(t, "f="+strings.Repeat("x", 5000)))
		root := i.put()
		for _, d := range []oci.Descriptor{i.manifest.Layers[0], i.manifest.Config, root} {
			if _, err := st.Put(t.Context(), oci.From(p, d)); err != nil {
				t.Fatal(err)
			}
		}
		reads := 0
		line := &ocitest.Fail{Store: st, Hook: func(op string, d oci.Descriptor) error {
			if op == "read" && d.Digest == i.manifest.Layers[0].Digest {
				if reads++; reads == 2 {
					return oci.Errorf(oci.ErrBusy, "broken line")
				}
			}
			return nil
		}}
		if _, _, err := check.Graph(t.Context(), line, root, check.Options{}); !errors.Is(err, oci.ErrBusy) {
			t.Errorf("%s: %v", mediaType, err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	p := newPlace()
	i := newImage(t, p).layer(oci.MediaLayerGzip, make([]byte, 1<<20))
	find(t, p, i.put(), check.Options{Limits: layer.Limits{Bytes: 1 << 19}}, "error limit 1")
	d := i.put()
	for range oci.MaxDepth + 2 {
		d = p.index(t, d)
	}
	q := newPlace()
	q.blobs = p.blobs
	find(t, q, d, check.Options{}, "error limit 0")
	q = newPlace()
	many := strings.Repeat("f=x f=y ", 200)
	got, _, err := check.Graph(t.Context(), q, newImage(t, q).tar(many).put(), check.Options{})
	if err != nil || len(got) != 101 {
		t.Errorf("%d findings, %v", len(got), err)
	}
}
