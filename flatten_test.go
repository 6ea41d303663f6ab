// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
)

// Changes of the Windows registry are deltas: layers become one only if no more
// than one of them has any.
func TestFlattenRegistryHives(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	file, hive := tarOf(t, tarFile{name: "Files/"}, tarFile{name: "Files/a", text: "a"}), tarOf(t, tarFile{name: "Hives/"}, tarFile{name: "Hives/Software_Delta", text: "b"})
	other := tarOf(t, tarFile{name: "Files/"}, tarFile{name: "Hives/"}, tarFile{name: "Hives/System_Delta", text: "c"})
	empty := tarOf(t, tarFile{name: "Files/"}, tarFile{name: "Hives/"}, tarFile{name: "Files/d", text: "d"})
	for name, c := range map[string]struct {
		platform string
		layers   [][]byte
		top      int
		want     error
	}{
		"two":      {"windows/amd64:10.0.1.1", [][]byte{hive, other}, 0, oci.ErrUnsupported},
		"on-top":   {"windows/amd64:10.0.1.1", [][]byte{file, hive, empty, other}, 3, oci.ErrUnsupported},
		"one":      {"windows/amd64:10.0.1.1", [][]byte{file, empty, hive}, 0, nil},
		"below":    {"windows/amd64:10.0.1.1", [][]byte{hive, file, other}, 2, nil},
		"no-hives": {"linux/amd64", [][]byte{hive, other}, 0, nil},
	} {
		h.put("win:"+name, imageOf{platform: c.platform, docker: true, layers: c.layers})
		client := dray.New(dray.Env{TempDir: t.TempDir(), CacheDir: t.TempDir()})
		o := dray.FlattenOptions{Top: c.top}
		o.Targets = []string{h.name + "/win:" + name + "-flat"}
		e, err := client.Flatten(t.Context(), h.name+"/win:"+name, o)
		if err == nil {
			err = e.Run(t.Context())
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		client.Close()
	}
}

// What is remembered of an image is not taken for another whose config claims to
// have the same layers.
func TestFlattenRemembersLayersNotClaims(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	below := tarOf(t, tarFile{name: "below", text: "1"})
	good, bad := tarOf(t, tarFile{name: "app", text: "good"}), tarOf(t, tarFile{name: "app", text: "bad"})
	claims := []oci.Digest{oci.FromBytes(below), oci.FromBytes(good)}
	h.put("a:bad", imageOf{platform: "linux/amd64", layers: [][]byte{below, bad}, claims: claims})
	h.put("a:good", imageOf{platform: "linux/amd64", layers: [][]byte{below, good}})
	cache := t.TempDir()
	for _, tag := range []string{"bad", "good"} {
		client := dray.New(dray.Env{TempDir: t.TempDir(), CacheDir: cache})
		o := dray.FlattenOptions{}
		o.Targets = []string{h.name + "/a:flat-" + tag}
		e, err := client.Flatten(t.Context(), h.name+"/a:"+tag, o)
		if err == nil {
			err = e.Run(t.Context())
		}
		client.Close()
		if err != nil && tag == "good" {
			t.Fatal(err)
		}
	}
	client := dray.New(dray.Env{TempDir: t.TempDir()})
	defer client.Close()
	var out bytes.Buffer
	if err := client.Cat(t.Context(), h.name+"/a:flat-good", dray.Side{}, nil, &out, "/app"); err != nil || out.String() != "good" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}
