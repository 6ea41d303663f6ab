// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// Edits do not make two images of an index ones for the same platform; those
// that were so before may stay so.
func TestTwoImagesForOnePlatform(t *testing.T) {
	t.Parallel()
	s := shelf{}
	arm := oci.Platform{OS: "linux", Architecture: "arm64"}
	bare := func(n int) oci.Descriptor { // has no layers of its own
		d := s.image(fmt.Sprintf(`{"architecture":"amd64","os":"linux","n":%d,"rootfs":{"type":"layers","diff_ids":[LAYERS]}}`, n), 0, false, "")
		d.Platform = platform(t, "linux/amd64")
		return d
	}
	for name, c := range map[string]struct {
		root oci.Descriptor
		edit edit.Edit
		bad  string
	}{
		"platform of all":  {s.multi(false, s.small("linux/amd64", 1), s.small("linux/arm64", 2)), edit.SetPlatform(arm), "two images of the index would be for linux/arm64: those for linux/amd64 and for linux/arm64"},
		"platform of one":  {s.multi(false, s.small("linux/amd64", 1), s.small("linux/arm64", 2)), edit.On(oci.Platform{OS: "linux", Architecture: "amd64"}, edit.SetPlatform(arm)), "two images of the index would be"},
		"version":          {s.multi(false, s.small("windows/amd64:10.0.1.2", 1), s.small("windows/amd64:10.0.1.3", 2)), edit.SetOSVersion("10.0.2.1"), "those for windows/amd64:10.0.1.2 and for windows/amd64:10.0.1.3"},
		"not in the index": {s.index(false, []oci.Descriptor{s.small("linux/amd64", 1), s.small("linux/arm64", 2)}), edit.SetPlatform(arm), "for linux/arm64"},
		"the same image":   {s.multi(false, bare(1), bare(2)), func(i *edit.Image) error { return i.Set(3, "n") }, "would become the same"},
		"twice before":     {s.multi(false, s.small("linux/amd64", 1), s.small("linux/amd64", 2)), edit.SetLabel("a", "b"), ""},
		"another platform": {s.multi(false, s.small("linux/amd64", 1), s.small("linux/arm64", 2)), edit.On(arm, edit.SetPlatform(oci.Platform{OS: "linux", Architecture: "riscv64"})), ""},
	} {
		n := apply(t, load(t, s, c.root), c.edit)
		_, err := edit.Seal(n)
		if c.bad == "" && err != nil || c.bad != "" && (!errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is written by hand into an index does not contradict the images.
func TestReplacedPlatformContradictsTheConfig(t *testing.T) {
	t.Parallel()
	s := shelf{}
	amd, arm := s.small("linux/amd64", 1), s.small("linux/arm64", 2)
	for name, c := range map[string]struct{ old, now, bad string }{
		"architecture": {`"architecture":"arm64"`, `"architecture":"s390x"`, "the image is for linux/arm64, not for linux/s390x"},
		"os":           {`"os":"linux"`, `"os":"windows"`, "not for windows"},
		"a variant":    {`"architecture":"arm64"`, `"architecture":"arm64","variant":"v8"`, ""},
		"a member":     {`"x-entry": 1`, `"x-entry": 2`, ""},
	} {
		x := loadIndex(t, s, s.multi(true, amd, arm))
		err := edit.ReplaceManifest(x, []byte(strings.Replace(string(x.Raw()), c.old, c.now, 1)))
		if c.bad == "" && err != nil || c.bad != "" && (!errors.Is(err, edit.ErrPlatform) || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := arm
	wrong.Platform = platform(t, "linux/riscv64")
	x := loadIndex(t, s, s.multi(false, amd, wrong)) // was so before
	if err := edit.ReplaceManifest(x, []byte(strings.Replace(string(x.Raw()), `"x-entry": 1`, `"x-entry": 2`, 1))); err != nil {
		t.Error(err)
	}
	other := s.small("linux/amd64/v2", 3)
	x = loadIndex(t, s, s.multi(false, amd, other))
	if err := edit.ReplaceManifest(x, []byte(strings.Replace(string(x.Raw()), `,"variant":"v2"`, "", 1))); !errors.Is(err, oci.ErrExists) {
		t.Error(err)
	}
}
