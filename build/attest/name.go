// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"cmp"
	"path"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// appName is what an application is called in documents: the last element of
// what the user calls it. The rest may be a path of the machine.
func appName(s build.Subject) string {
	name := path.Base(strings.ReplaceAll(s.Name, `\`, "/"))
	return cmp.Or(strings.Trim(plain(name), "-."), "image")
}

// plain is text of letters, digits, dots, underscores and hyphens.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, s)
}

// fileName is what a document about a subject is called, without an ending:
// app-linux-arm-v7, app-index.
func fileName(s build.Subject) string {
	words := []string{appName(s)}
	if isIndex(s) {
		return words[0] + "-index"
	}
	p := oci.NormalizePlatform(s.Platform)
	for _, w := range append([]string{p.OS, p.Architecture, p.Variant, p.OSVersion}, p.OSFeatures...) {
		if w != "" {
			words = append(words, plain(w))
		}
	}
	return strings.Join(words, "-")
}

// imageURL is the package URL of what was built. It does not say where it is
// kept: the same image may be in many places.
func imageURL(s build.Subject) string {
	return ociURL(strings.ToLower(appName(s)), s.Descriptor.Digest, map[string]string{"arch": s.Platform.Architecture})
}

// baseURL is the package URL of a base, by the digest of the image or of the
// index; "" if there is none.
func baseURL(b *build.Base, d oci.Digest) string {
	if b == nil || d == "" {
		return ""
	}
	more := map[string]string{"repository_url": b.Repository}
	if d == b.Image.Digest {
		more["arch"] = b.Platform.Architecture
	}
	if _, tag, ok := strings.Cut(strings.TrimPrefix(b.Ref, b.Repository), ":"); ok && b.Ref != "" {
		more["tag"] = tag
	}
	return ociURL(baseName(b), d, more)
}

// baseName is what a base is called: the end of its repository's name. What it is
// called on this machine is not said.
func baseName(b *build.Base) string {
	if b.Repository == "" {
		return "base"
	}
	return path.Base(b.Repository)
}

// ociURL is a package URL of the type oci.
func ociURL(name string, d oci.Digest, more map[string]string) string {
	q := map[string]string{}
	for k, v := range more {
		if v != "" {
			q[k] = v
		}
	}
	return packageurl.NewPackageURL(packageurl.TypeOCI, "", name, string(d), packageurl.QualifiersFromMap(q), "").ToString()
}
