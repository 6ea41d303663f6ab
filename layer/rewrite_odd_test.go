// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/dray-tools/dray/layer"
)

// A parent that the base has and that is not 0755 of root is written again as it
// is there: Docker's engine on overlay2 would make it anew, and /tmp lose its mode.
// So is one in a directory with setgid, which it would get.
func TestOddParentsStay(t *testing.T) {
	t.Parallel()
	tmp, root, mail := dir("tmp"), dir("root"), dir("var/mail")
	tmp.Mode, root.Mode, mail.Mode, mail.Gid = 0o1777, 0o700, 0o2775, 8
	base := layer.NewBase(blobs(t, []rec{tmp, root, dir("var"), mail, dir("var/mail/plain")}), layer.BaseOptions{Deep: true})
	in := tarOf(t, file("tmp/x", "1"), file("root/a/y", "2"), file("var/mail/z", "3"), file("tmp/w", "4"), file("var/mail/plain/v", "5"))
	var out bytes.Buffer
	if _, err := layer.Rewrite(t.Context(), &out, bytes.NewReader(in), layer.RewriteOptions{Ground: base}); err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{"tmp/": 0o1777, "root/": 0o700, "root/a/": 0o755, "var/mail/": 0o2775, "var/mail/plain/": 0o755}
	dirs := 0
	for _, r := range untar(t, out.Bytes()) {
		if r.Typeflag != tar.TypeDir {
			continue
		}
		dirs++
		if r.Mode != modes[r.Name] || (r.Gid == 8) != (r.Name == "var/mail/") {
			t.Errorf("%s has mode %o, group %d", r.Name, r.Mode, r.Gid)
		}
	}
	if dirs != len(modes) {
		t.Errorf("%d directories in %v", dirs, untar(t, out.Bytes()))
	}
}
