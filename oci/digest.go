// SPDX-License-Identifier: Apache-2.0

package oci

import (
	_ "crypto/sha256" // the algorithms that the specifications register
	_ "crypto/sha512"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ParseDigest checks a digest before it gets near a URL or a path: sha256 or
// sha512 and exactly the lower-case hex digits of it (image-spec,
// descriptor.md, "Digests"). ErrInvalid otherwise.
func ParseDigest(s string) (Digest, error) {
	alg, hex, ok := strings.Cut(s, ":")
	want := map[string]int{"sha256": 64, "sha512": 128}[alg]
	switch {
	case !ok:
		return "", Errorf(ErrInvalid, "digest %s has no algorithm", Quote(s))
	case want == 0:
		return "", Errorf(ErrInvalid, "digest %s: unknown algorithm, want sha256 or sha512", Quote(s))
	case len(hex) != want:
		return "", Errorf(ErrInvalid, "digest %s has %d digits, want %d", Quote(s), len(hex), want)
	case strings.Trim(hex, "0123456789abcdef") != "":
		return "", Errorf(ErrInvalid, "digest %s: want lower-case hex digits", Quote(s))
	}
	return Digest(s), nil
}

// FromBytes computes the sha256 digest of b.
func FromBytes(b []byte) Digest { return digest.FromBytes(b) }

// CheckDescriptor checks the parts of a descriptor that come from outside:
// the digest, the size and embedded data (image-spec, descriptor.md).
// ErrInvalid, or ErrCorrupt if embedded data does not match.
func CheckDescriptor(d Descriptor) error {
	if _, err := ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	if d.Size < 0 {
		return Errorf(ErrInvalid, "descriptor %s has the negative size %d", d.Digest, d.Size)
	}
	if d.Data == nil {
		return nil
	}
	if len(d.Data) > MaxData {
		return Errorf(ErrInvalid, "descriptor %s embeds %d bytes, more than %d", d.Digest, len(d.Data), MaxData)
	}
	if int64(len(d.Data)) != d.Size || d.Digest.Algorithm().FromBytes(d.Data) != d.Digest {
		return Errorf(ErrCorrupt, "descriptor %s embeds data that does not match it", d.Digest)
	}
	return nil
}

// Quote makes text from outside safe to print: control characters and
// anything else that a terminal could act on are escaped, and it is cut after
// 256 characters.
func Quote(s string) string {
	if len(s) > 256 {
		s = s[:256] + "…"
	}
	return fmt.Sprintf("%q", s)
}
