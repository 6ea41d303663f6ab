// SPDX-License-Identifier: Apache-2.0

package compare_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/compare"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A small layer that says to unpack to more than 64 GiB is not read.
func TestBad_070_Bombs(t *testing.T) {
	t.Parallel()
	p := newPlace()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 65 << 30, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	bomb := p.image(t, func(m *v1.Manifest, _ *v1.Image) { m.Layers[0] = p.put(oci.MediaLayer, b.Bytes()) }, []entry{file("x", "1")})
	a := p.image(t, nil, []entry{file("x", "1")})
	for _, o := range []compare.Options{{}, only(compare.Packages)} {
		_, err := compare.Graphs(t.Context(), p.graph(a), p.graph(bomb), o)
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "no room") {
			t.Errorf("%v", err)
		}
	}
	o := compare.Options{Limits: layer.Limits{Bytes: 1 << 20}}
	large := p.image(t, nil, []entry{file("x", strings.Repeat("x", 1<<20))})
	if _, err := compare.Graphs(t.Context(), p.graph(a), p.graph(large), o); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("own limit: %v", err)
	}
}

// More files than a block of sums has, and other entries between them.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	p := newPlace()
	var a, b []entry
	var want []string
	for i := range 2000 {
		name := fmt.Sprintf("f%04d", i)
		a = append(a, file(name, name))
		if i%3 == 0 {
			a, b = append(a, dir("d"+name)), append(b, dir("d"+name))
		}
		content := name
		if i%255 < 2 {
			content = "other"
			want = append(want, "file changed /"+name+" content 1 1")
		}
		b = append(b, file(name, content))
	}
	diff(t, p, p.image(t, nil, a), p.image(t, nil, b), only(compare.Files), want...)
}

// A foreign layer that is not there is said to be one.
func TestForeign(t *testing.T) {
	t.Parallel()
	p := newPlace()
	foreign := func(urls ...string) oci.Descriptor {
		return p.image(t, func(m *v1.Manifest, _ *v1.Image) {
			m.Layers[0].MediaType, m.Layers[0].URLs = oci.MediaDockerForeign, urls
		}, []entry{file("x", "away")}, []entry{file("y", "1")})
	}
	a, b, here := foreign("https://example.com/x\x1b"), foreign(), p.image(t, nil, []entry{file("x", "1")})
	d := oci.FromBytes(tarOf(t, []entry{file("x", "away")}))
	away := p.blobs[d]
	delete(p.blobs, d)
	for root, want := range map[string]string{string(a.Digest): `foreign one, which is not kept with the image but at "https://example.com/x\x1b"`, string(b.Digest): "where its manifest does not say"} {
		r := a
		if root == string(b.Digest) {
			r = b
		}
		_, err := compare.Graphs(t.Context(), p.graph(here), p.graph(r), compare.Options{})
		i, rerr := image.Read(t.Context(), p, r)
		if rerr != nil {
			t.Fatal(rerr)
		}
		_, terr := i.Files(layer.Limits{}).Tree(t.Context())
		for _, err := range []error{err, terr} {
			if !errors.Is(err, oci.ErrNotFound) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "no sha256") || strings.Count(err.Error(), "layer sha256:") != 1 {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		rc, _, err := i.Files(layer.Limits{}).Open(t.Context(), "y")
		if err == nil {
			_, err = io.Copy(io.Discard, rc)
		}
		if err != nil {
			t.Errorf("a file that is in another layer: %v", err)
		}
	}
	q := newPlace() // who has it may read it
	maps.Copy(q.blobs, p.blobs)
	q.blobs[d] = away
	diff(t, q, here, a, only(compare.Files), "file changed /x size,content 1 1", "file added /y 2")
}
