// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/cli"
)

// SRC:DEST is cut at the last colon that is not that of a drive.
func TestDirFlag(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"app:/srv": "app /srv", "./a:bc:/srv/": "./a:bc /srv/", "app:srv": "app srv", `C:\app:/srv`: `C:\app /srv`,
		"app:C:/srv": "app C:/srv", `C:\app:C:\srv`: `C:\app C:\srv`, ".:/": ". /",
		"app": "", "app:": "", ":/srv": "", "": "",
	} {
		l, err := cli.DirLayer(in)
		if got := strings.TrimSpace(l.Dir + " " + l.At); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
}

// What has a digest is a layer of an image, all else a file.
func TestLayerFlag(t *testing.T) {
	t.Parallel()
	d := "sha256:" + strings.Repeat("a", 64)
	for in, blob := range map[string]bool{"app.tar": false, "-": false, "./a@" + d: false, "ghcr.io/a/b@" + d: true, "oci:dir@" + d: true, "a@b.tar": false} {
		l, err := cli.FileLayer(in)
		if err != nil || (l.Blob == in) != blob || (l.File == in) == blob {
			t.Errorf("%q is %+v, %v", in, l, err)
		}
	}
	if _, err := cli.FileLayer(""); err == nil {
		t.Error("an empty name is no file")
	}
}
