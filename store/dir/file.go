// SPDX-License-Identifier: Apache-2.0

package dir

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// The members of a directory.
const (
	versionFile   = "version"
	manifestFile  = "manifest.json"
	versionPrefix = "Directory Transport Version: "
	plainVersion  = versionPrefix + "1.1\n"
	longVersion   = versionPrefix + "1.2\n" // with other digests than sha256
	signature     = "signature-"
)

var (
	member      = regexp.MustCompile(`^(version|manifest\.json|signature-[0-9]+|([a-z0-9]+-)?[0-9a-f]{32,128}(\.manifest\.json|\.signature-[0-9]+)?)$`)
	goodVersion = regexp.MustCompile(`^` + versionPrefix + `1\.[0-9]{1,4}\n?$`)
)

// blobName is the file of a blob. The digest must be valid.
func blobName(d oci.Digest) string {
	if d.Algorithm() == "sha256" {
		return d.Encoded()
	}
	return d.Algorithm().String() + "-" + d.Encoded()
}

func manifestName(d oci.Digest) string { return blobName(d) + "." + manifestFile }

// names are the files that d may be in: version 1.1 named all digests alike.
func names(d oci.Descriptor) []string {
	suffix := ""
	if oci.IsManifest(d.MediaType) {
		suffix = "." + manifestFile
	}
	list := []string{blobName(d.Digest) + suffix}
	if old := d.Digest.Encoded() + suffix; old != list[0] {
		list = append(list, old)
	}
	return list
}

// readable checks that the directory holds an image that dray can read.
func readable(root *os.Root) error {
	if err := checkVersion(root); err != nil {
		return err
	}
	if _, err := disk.StatRegular(root, manifestFile); errors.Is(err, fs.ErrNotExist) {
		return oci.Errorf(oci.ErrInvalid, "not an image in a directory: the file %s is missing", manifestFile)
	} else if err != nil {
		return err
	}
	return nil
}

// checkVersion accepts a missing version, as skopeo does.
func checkVersion(root *os.Root) error {
	raw, err := disk.ReadFile(root, versionFile, 1<<10)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case goodVersion.Match(raw):
		return nil
	case strings.HasPrefix(string(raw), versionPrefix):
		return oci.Errorf(oci.ErrUnsupported, "%s says %s, want 1.x", versionFile, oci.Quote(strings.TrimSpace(string(raw))))
	}
	return oci.Errorf(oci.ErrInvalid, "%s is not that of an image in a directory: %s", versionFile, oci.Quote(string(raw)))
}

// replaceable checks that nothing gets lost with the directory but an image:
// it is empty, or holds the files of one (which need not be whole) and nothing
// else.
func replaceable(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil || len(entries) == 0 {
		return err
	}
	ours := false
	for _, e := range entries {
		if !member.MatchString(e.Name()) || !e.Type().IsRegular() {
			return oci.Errorf(oci.ErrInvalid, "it holds %s, which is not part of an image in a directory: nothing is replaced", oci.Quote(e.Name()))
		}
		ours = ours || e.Name() == versionFile || e.Name() == manifestFile
	}
	if !ours {
		return oci.Errorf(oci.ErrInvalid, "it is not empty, and holds no image (no file %s): nothing is replaced", manifestFile)
	}
	return checkVersion(root)
}

// sameFile reports whether a file is as it was.
func sameFile(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
