// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
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
