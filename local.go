// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store/archive"
)

// pullFormats are what PullPairs can write, by crane's names and skopeo's.
var pullFormats = map[string]string{
	"docker": ref.DockerArchive, "tarball": ref.DockerArchive, ref.DockerArchive: ref.DockerArchive,
	"oci": ref.Layout, ref.OCIArchive: ref.OCIArchive, ref.Dir: ref.Dir,
}

// PullPairs are what has to be copied to have the images at path under their
// own names. format is docker, oci, oci-archive or dir.
func PullPairs(images []string, path, format string) ([]Pair, error) {
	scheme, ok := pullFormats[format]
	if !ok {
		return nil, oci.Errorf(oci.ErrInvalid, "format %s: want docker, oci, oci-archive or dir", oci.Quote(format))
	}
	if scheme == ref.Dir && len(images) > 1 {
		return nil, oci.Errorf(oci.ErrInvalid, "dir: holds one image, not %d", len(images))
	}
	if err := noColon(path); err != nil && scheme != ref.Dir {
		return nil, err
	}
	out := make([]Pair, len(images))
	for i, name := range images {
		r, err := ref.Parse(name)
		if err != nil {
			return nil, err
		}
		to := ref.Ref{Scheme: scheme, Path: path}
		if scheme != ref.Dir && r.Scheme == ref.Registry && r.Name != "" {
			r.Digest = ""
			to.Name = r.String()
		}
		out[i] = Pair{From: name, To: to.String()}
	}
	return out, nil
}

// Local is the reference to the image or images at a path, whatever keeps them
// there: an OCI layout, skopeo's directory, a tar of either kind. A reference
// to a place of this machine stays what it is; "-" is taken for what docker
// save writes.
func Local(path string) (string, error) {
	if r, err := ref.ParseAny(path); err == nil && r.Scheme != ref.Registry {
		return path, nil
	}
	if path == "-" { // looking at it would be reading it
		return ref.DockerArchive + ":-", nil
	}
	if err := noColon(path); err != nil {
		return "", err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	r := ref.Ref{Path: path}
	switch {
	case !fi.IsDir():
		kind, err := archive.KindOf(path)
		if err != nil {
			return "", err
		}
		if r.Scheme = ref.OCIArchive; kind == archive.Docker {
			r.Scheme = ref.DockerArchive
		}
	case exists(path, "oci-layout"):
		r.Scheme = ref.Layout
	case exists(path, "manifest.json"):
		r.Scheme = ref.Dir
	default:
		return "", oci.Errorf(oci.ErrInvalid, "%s is neither an OCI layout nor a directory of skopeo's", oci.Quote(path))
	}
	return r.String(), nil
}

// noColon refuses a path that would be read as a path and a name.
func noColon(path string) error {
	if strings.ContainsRune(path[len(filepath.VolumeName(path)):], ':') {
		return oci.Errorf(oci.ErrInvalid, "path %s: a colon in it could not be told from a name", oci.Quote(path))
	}
	return nil
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}
