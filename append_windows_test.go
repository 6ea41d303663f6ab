// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

var windows = []string{"10.0.17763.2686", "10.0.18363.1556", "10.0.19041.1415", "10.0.19042.1586", "10.0.20348.587"}

func windowsBases(h *counted) (names []string) {
	for n, v := range windows {
		h.put(fmt.Sprint("windows/nanoserver:", n), imageOf{platform: "windows/amd64:" + v, docker: true, foreign: true, layers: [][]byte{tarOf(h.t, tarFile{name: "Files/" + v})}})
		names = append(names, fmt.Sprint(h.name, "/windows/nanoserver:", n))
	}
	return names
}

// One layer on five foreign bases, with the index: each base costs its manifest
// and config, the layer is sent once, and no byte of a base is.
func TestAppendWindowsRequests(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	bases := windowsBases(h)
	app := tarOf(t, tarFile{name: "app/dotnet.exe", text: string(ocitest.Random(1, 7<<20))}, tarFile{name: "app/link.exe", link: "dotnet.exe"})
	o := dray.AppendOptions{Bases: bases, Layers: []dray.LayerInput{{File: saved(t, "app.tar", app)}}}
	o.Targets = []string{h.name + "/app:1.0"}
	h.requests()
	e, err := appended(t, dray.Env{CacheDir: t.TempDir()}, o)
	if err != nil {
		t.Fatal(err)
	}
	seen, sent := h.requests()
	if len(seen) > 35 || sent > 7<<20+100_000 {
		t.Errorf("%d requests, %d bytes: %s", len(seen), sent, strings.Join(seen, "\n"))
	}
	if got := e.Totals(); got.Bytes > 7<<20+100_000 {
		t.Errorf("the plan moves %d bytes", got.Bytes)
	}
	h.validated("app:1.0")
	m := h.index("app", "1.0")
	if m.Descriptor.MediaType != oci.MediaDockerList || len(m.Manifests) != len(windows) {
		t.Fatalf("%s", m.Raw)
	}
	for n, d := range m.Manifests {
		i := h.read("app", string(d.Digest))
		if d.Platform.OSVersion != windows[n] || i.Platform.OSVersion != windows[n] {
			t.Errorf("entry %d is for %+v", n, d.Platform)
		}
		if l := i.Manifest.Layers; len(l) != 2 || !oci.IsForeign(l[0]) || l[1].MediaType != oci.MediaDockerLayer || l[1].Digest != h.read("app", string(m.Manifests[0].Digest)).Manifest.Layers[1].Digest {
			t.Errorf("layers %+v", l)
		}
	}
}

// The entries of a Windows layer are in Files and Hives, each of which is there
// once, also if the tar has an entry for its root.
func TestAppendWindowsFilesOnce(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("win:1", imageOf{platform: "windows/amd64:10.0.1.1", docker: true, layers: [][]byte{tarOf(t, tarFile{name: "Files/"})}})
	app := tarOf(t, tarFile{name: "./"}, tarFile{name: "./app/"}, tarFile{name: "./app/a.exe"})
	o := dray.AppendOptions{Bases: []string{h.name + "/win:1"}, Layers: []dray.LayerInput{{File: saved(t, "app.tar", app)}}}
	o.Targets = []string{h.name + "/win:2"}
	if _, err := appended(t, dray.Env{}, o); err != nil {
		t.Fatal(err)
	}
	got := entriesOf(t, h.read("win", "2").Layers()[1])
	if want := []string{"Files/", "Hives/", "Files/app/", "Files/app/a.exe"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	h.validated("win:2")
}
