// SPDX-License-Identifier: Apache-2.0

package ref_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

const sha = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	t.Parallel()
	sha512 := "sha512:" + strings.Repeat("0", 128)
	for in, want := range map[string]string{
		"busybox":                             "docker.io/library/busybox:latest",
		"busybox:1.35":                        "docker.io/library/busybox:1.35",
		"index.docker.io/library/busybox":     "docker.io/library/busybox:latest",
		"user/app":                            "docker.io/user/app:latest",
		"docker://ghcr.io/a/b":                "ghcr.io/a/b:latest",
		"localhost/a":                         "localhost/a:latest",
		"localhost:5000/a/b:1":                "localhost:5000/a/b:1",
		"127.0.0.1:5000/a@" + sha:             "127.0.0.1:5000/a@" + sha,
		"[::1]:5000/a:1":                      "[::1]:5000/a:1",
		"ghcr.io/a/b:1@" + sha:                "ghcr.io/a/b:1@" + sha,
		"ghcr.io/a/b@" + sha512:               "ghcr.io/a/b@" + sha512,
		"oci:dir":                             "oci:dir",
		"oci:/a/b:1.0":                        "oci:/a/b:1.0",
		"oci:dir:docker.io/library/busybox:1": "oci:dir:docker.io/library/busybox:1",
		"oci:dir@" + sha:                      "oci:dir@" + sha,
		"oci:/home/me@corp/dir:1":             "oci:/home/me@corp/dir:1",
		"oci:me@corp/dir@" + sha:              "oci:me@corp/dir@" + sha,
		`oci:C:\img:x`:                        `oci:C:\img:x`,
		"oci:dir:@1":                          "oci:dir:@1",
		"oci-archive:a.tar":                   "oci-archive:a.tar",
		"oci-archive:-:x":                     "oci-archive:-:x",
		"docker-archive:a.tar:@12":            "docker-archive:a.tar:@12",
		"docker-archive:a.tar:ghcr.io/a/b:1":  "docker-archive:a.tar:ghcr.io/a/b:1",
		"docker-archive:a.tar@" + sha:         "docker-archive:a.tar@" + sha,
		"dir:/a:b":                            "dir:/a:b",
		"dir:a@" + sha:                        "dir:a@" + sha,
		"docker-daemon:busybox:1":             "docker-daemon:busybox:1",
		"docker-daemon:" + sha:                "docker-daemon:" + sha,
		"containers-storage:[vfs@/a+/b]x:1":   "containers-storage:[vfs@/a+/b]x:1",
	} {
		r, err := ref.Parse(in)
		if err != nil || r.String() != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", in, r, err, want)
		}
		again, err := ref.Parse(r.String())
		if err != nil || again != r {
			t.Errorf("Parse(%q) is not read back: %+v, %v", r, again, err)
		}
	}
}

// The digest wins: the tag beside it is never what a store is asked for.
func TestBad_004_DigestWins(t *testing.T) {
	t.Parallel()
	r, err := ref.Parse("ghcr.io/a/b:1@" + sha)
	if err != nil || r.Target() != sha {
		t.Fatalf("%v, %v", r.Target(), err)
	}
}

func TestBad_001_002_005_007_References(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "a b", "A/B", "a//b", "a/../b", "a/", "a:", "a@", "a:b:c", "ghcr.io/a/b:" + strings.Repeat("t", 129), "ghcr.io/" + strings.Repeat("a", 256),
		"ghcr.io/a\n", "ghcr.io/a\x00", "ghcr.io/a%2fb", "ghcr.io/a?x", "ghcr.io/a#x", "user:pw@ghcr.io/a", "https://ghcr.io/a", "ghcr.io/ａ", "аpple.com/a/b", "[fe80::1%25eth0]/a",
		"a@sha256:" + strings.Repeat("0", 63), "a@sha256:" + strings.Repeat("0", 65), "a@sha256:" + strings.Repeat("A", 64), "a@sha256:../../x", "a@md5:d41d8cd98f00b204e9800998ecf8427e", "a@sha384:" + strings.Repeat("0", 96),
		strings.Repeat("0", 64), "oci:", "oci::x", "oci:dir:", "oci:dir@x", "oci:dir@sha256:../x", "oci:a\nb", "oci:dir@sha256:" + strings.Repeat("0", 63),
		"oci-archive:", "docker-archive:f:", "dir:", "docker-daemon:", "docker-daemon:-x", "containers-storage:--x", "docker-daemon:a\nb",
		"127.0.0.1:5000", "localhost:5000", "registry.example:443",
	} {
		r, err := ref.Parse(in)
		if !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("Parse(%q) = %+v, %v; want ErrInvalid", in, r, err)
		} else if strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("Parse(%q): error has control characters: %q", in, err)
		}
	}
	for _, in := range []string{"ostree:x", "tarball:x.tar", "ocidir://x"} {
		if _, err := ref.Parse(in); !errors.Is(err, oci.ErrUnsupported) {
			t.Errorf("a store that is not there: %v", err)
		}
	}
}

func TestParseHost(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"ghcr.io": "ghcr.io", "localhost:5000": "localhost:5000", "index.docker.io": "docker.io", "https://quay.io/": "quay.io", "localhost": "localhost"} {
		if r, err := ref.ParseHost(in); err != nil || r.Host != want {
			t.Errorf("ParseHost(%q) = %v, %v", in, r, err)
		}
	}
	for _, in := range []string{"", "a b", "ghcr.io/a", "user@ghcr.io", "x"} {
		if r, err := ref.ParseHost(in); err == nil {
			t.Errorf("ParseHost(%q) = %+v", in, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"busybox", "ghcr.io/a/b:1@" + sha, "oci:d:n", "docker://x", "[::1]:5000/a", "a@sha256:x", "oci:C:\\x", "docker-archive:f:@1", "dir:a:b@" + sha, "docker-daemon:a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ref.Parse(s)
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		again, err := ref.Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q prints as %q, which is read as %+v, %v", s, r, again, err)
		}
	})
}
