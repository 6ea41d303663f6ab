// SPDX-License-Identifier: Apache-2.0

package dir_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
)

// FuzzDir reads directories with any version and manifest.
func FuzzDir(f *testing.F) {
	image := ocitest.Index(1)
	m := string(contentOf(f, image.Blob(image.Root.Digest)))
	for _, s := range []string{m, m[:100], `{"layers":[]}`, `{"manifests":[]}`, "", "[]", `{"schemaVersion":1,"fsLayers":[]}`} {
		f.Add("Directory Transport Version: 1.1\n", s)
	}
	f.Add("Directory Transport Version: 9.1\n", m)
	f.Fuzz(func(t *testing.T, version, manifest string) {
		path := t.TempDir()
		for name, text := range map[string]string{"version": version, "manifest.json": manifest} {
			if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d, err := dir.Open(path, dir.Options{})
		if err != nil {
			return
		}
		root, err := d.Resolve(t.Context(), "")
		if err != nil {
			return
		}
		if got, err := content(d, root); err != nil || string(got) != manifest || root.Digest != oci.FromBytes(got) {
			t.Fatalf("read %q, %v", got, err)
		}
	})
}

func contentOf(t testing.TB, b oci.Blob) []byte {
	t.Helper()
	r, err := b.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
