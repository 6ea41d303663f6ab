// SPDX-License-Identifier: Apache-2.0

package dir_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
)

// admit shows all manifests of a fixture, children first.
func admit(t *testing.T, d *dir.Dir, f ocitest.Fixture) {
	t.Helper()
	for _, b := range f.Blobs {
		if desc := b.Descriptor(); oci.IsManifest(desc.MediaType) {
			m, err := oci.ParseManifest(desc.MediaType, contentOf(t, b))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Admit(t.Context(), m, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is not one image is refused before anything is put.
func TestAdmit(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		l     = layer 10
		image = image l
		next  = image l platform=linux/arm64
		sig   = artifact l type=application/x.sig subject=image
		list  = index image sig
		both  = index image next
	`)
	for words, want := range map[string]string{
		"image":          "",
		"sig":            "",
		"list":           "",
		"both":           "",
		"image both":     "",
		"sig image":      "referrers cannot go with it",
		"sig both":       "referrers cannot go with it",
		"image next":     "holds one image, not both",
		"there sig":      "referrers cannot go with it",
		"there next":     "",
		"there list":     "",
		"next aborted":   "",
		"list both next": "holds one image, not both",
	} {
		path := filepath.Join(t.TempDir(), "image")
		names, there := strings.CutPrefix(words, "there ")
		if there {
			save(t, path, w.Fixture("image"))
		}
		names, aborted := strings.CutSuffix(names, " aborted")
		d := open(t, path, true)
		for _, name := range strings.Fields(names) {
			admit(t, d, w.Fixture(name))
		}
		if aborted {
			if err := d.Abort(); err != nil {
				t.Fatal(err)
			}
			admit(t, d, w.Fixture("image"))
		}
		_, err := d.Stat(t.Context(), oci.Descriptor{MediaType: oci.MediaLayer, Digest: oci.FromBytes([]byte("none")), Size: 4})
		if want == "" {
			wantErr(t, words, err, oci.ErrNotFound)
			continue
		}
		if wantErr(t, words, err, oci.ErrUnsupported); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

// An index of which anything is missing or broken does not count as there, and
// repairing it leaves the index.
func TestBad_083_RepairOfAnIndex(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		l     = layer 1000
		image = image l
		next  = image l platform=linux/arm64
		inner = index image
		list  = index inner next
	`)
	list, image := w.Fixture("list"), w.Fixture("image")
	for name, lost := range map[string]string{
		"manifest": image.Root.Digest.Encoded() + ".manifest.json",
		"config":   image.Blobs[0].Descriptor().Digest.Encoded(),
		"layer":    w.Fixture("l").Root.Digest.Encoded(),
	} {
		for _, broken := range []bool{false, true} {
			path := made(t, list)
			whole := snapshot(t, path)
			if lost := filepath.Join(path, lost); broken {
				raw := []byte(whole[filepath.Base(lost)])
				raw[5] ^= 1
				write(t, lost, raw)
			} else if err := os.Remove(lost); err != nil {
				t.Fatal(err)
			}
			d := open(t, path, true)
			for _, desc := range []oci.Descriptor{list.Root, w.Fixture("inner").Root} {
				_, err := d.Stat(t.Context(), desc)
				wantErr(t, name, err, oci.ErrNotFound)
			}
			before := snapshot(t, path)
			push(t, d, image) // a child alone makes no image
			commit(t, d)
			if !maps.Equal(before, snapshot(t, path)) {
				t.Errorf("%s: the directory has changed", name)
			}
			push(t, d, image)
			publish(t, d, list)
			commit(t, d)
			wantImage(t, path, list)
			if !maps.Equal(whole, snapshot(t, path)) {
				t.Errorf("%s: it was not repaired", name)
			}
		}
	}
}
