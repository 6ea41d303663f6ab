// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Pattern is platforms: "linux" or "linux/*" is all of Linux, "linux/arm64"
// what oci.MatchPlatform takes for it, "linux/arm/*" all variants,
// "windows/amd64:10.0.17763" all builds of that version.
type Pattern struct {
	text string
	p    oci.Platform // * for anything
}

// ParsePattern reads a pattern; ErrInvalid if it is none.
func ParsePattern(s string) (Pattern, error) {
	name, version, _ := strings.Cut(s, ":")
	parts := strings.Split(name, "/")
	if len(parts) == 1 {
		parts = append(parts, "*")
	}
	if parts[1] == "*" && len(parts) == 2 {
		parts = append(parts, "*")
	}
	probe := slices.Clone(parts) // with letters for the stars it has to be a platform
	for i, part := range parts {
		if part == "*" {
			probe[i] = "x"
		}
	}
	full := strings.Join(probe, "/")
	if version != "" || strings.HasSuffix(s, ":") {
		full += ":" + version
	}
	p, err := oci.ParsePlatform(full)
	if err != nil {
		return Pattern{}, oci.Errorf(oci.ErrInvalid, "platform %s: want os[/arch[/variant]][:os.version], * for any", oci.Quote(s))
	}
	for i, to := range []*string{&p.OS, &p.Architecture, &p.Variant} {
		if i < len(parts) && parts[i] == "*" {
			*to = "*"
		}
	}
	return Pattern{s, p}, nil
}

// exactly is the pattern of one platform, with its os.version if it has one.
func exactly(p oci.Platform) Pattern { return Pattern{oci.FormatPlatform(p), p} }

func (p Pattern) String() string { return p.text }

// Match reports whether a platform is one of the pattern's.
func (p Pattern) Match(have oci.Platform) bool {
	want := p.p
	have = oci.NormalizePlatform(have)
	if want.OS == "*" {
		want.OS = have.OS
	}
	if want.Architecture == "*" {
		want.Architecture = have.Architecture
	}
	if want.Variant == "*" {
		want.Variant = have.Variant
	}
	return oci.MatchPlatform(want, have)
}

// ParsePlatform reads os/arch[/variant][:os.version][+feature...], as an entry of
// an index shall say it: other than with oci.ParsePlatform a variant stays as it
// is written, and none is added.
func ParsePlatform(s string) (oci.Platform, error) {
	parts := strings.Split(s, "+")
	p, err := oci.ParsePlatform(parts[0])
	if err != nil || slices.Contains(parts[1:], "") {
		return p, oci.Errorf(oci.ErrInvalid, "platform %s: want os/arch[/variant][:os.version][+feature]", oci.Quote(s))
	}
	name, _, _ := strings.Cut(strings.ToLower(parts[0]), ":")
	if written := strings.Split(name, "/"); len(written) == 3 {
		p.Variant = written[2]
	} else if written[1] == p.Architecture { // and not armhf, which says it
		p.Variant = ""
	}
	p.OSFeatures = parts[1:]
	if len(p.OSFeatures) == 0 {
		p.OSFeatures = nil
	}
	return p, nil
}

// A Choice says which entries of an index are meant. Attestations belong to what
// they are about and are meant by their digests alone.
type Choice struct {
	All       bool // images, indexes, artifacts
	Platforms []Pattern
	Digests   []oci.Digest
	Unknown   bool // Keep keeps what has no platform, too
	Bare      bool // Keep keeps no attestations
}

// Among tells which entries of an index are meant. ErrNotFound if there is none
// for one of the platforms or digests, ErrUnsupported if a platform is asked for
// and an entry is an index, whose platforms nobody knows.
func (c Choice) Among(list []oci.Descriptor) ([]bool, error) {
	chosen := make([]bool, len(list))
	for i, d := range list {
		chosen[i] = c.All && !isAttestation(d)
	}
	for _, p := range c.Platforms {
		found := false
		for i, d := range list {
			switch {
			case isAttestation(d):
			case d.Platform == nil && oci.IsIndex(d.MediaType):
				return nil, oci.Errorf(oci.ErrUnsupported, "index holds another index (%s): platforms cannot be chosen from it", d.Digest)
			case d.Platform != nil && p.Match(*d.Platform):
				chosen[i], found = true, true
			}
		}
		if !found {
			return nil, oci.Errorf(oci.ErrNotFound, "index has no %s; it has %s", p, platformsOf(list))
		}
	}
	for _, want := range c.Digests {
		found := false
		for i, d := range list {
			if d.Digest == want {
				chosen[i], found = true, true
			}
		}
		if !found {
			return nil, oci.Errorf(oci.ErrNotFound, "index has no %s", want)
		}
	}
	return chosen, nil
}

// platformsOf names what an index has, for an error.
func platformsOf(list []oci.Descriptor) string {
	var names []string
	for _, d := range list {
		if d.Platform != nil && !isAttestation(d) {
			names = append(names, oci.FormatPlatform(*d.Platform))
		}
	}
	switch n := len(names); {
	case n == 0:
		return "no entry with a platform"
	case n > 12:
		names = append(names[:12], fmt.Sprintf("%d more", n-12))
	}
	return strings.Join(names, ", ")
}

// Keep tells what stays of an index if only the chosen entries do: also the
// attestations about them. Errors are those of Among.
func (c Choice) Keep(list []oci.Descriptor) ([]bool, error) {
	chosen, err := c.Among(list)
	if err != nil {
		return nil, err
	}
	for i, d := range list {
		chosen[i] = chosen[i] || c.Unknown && d.Platform == nil && !isAttestation(d)
	}
	if !c.Bare {
		chosen = withAttestations(list, chosen)
	}
	return chosen, nil
}

// Drop tells what stays of an index if the chosen entries go: not the
// attestations about what is not there any more. Errors are those of Among.
func (c Choice) Drop(list []oci.Descriptor) ([]bool, error) {
	chosen, err := c.Among(list)
	if err != nil {
		return nil, err
	}
	return without(list, chosen), nil
}

func withAttestations(list []oci.Descriptor, chosen []bool) []bool {
	about := map[oci.Digest]bool{}
	for i, d := range list {
		about[d.Digest] = about[d.Digest] || chosen[i]
	}
	out := slices.Clone(chosen)
	for i, d := range list {
		out[i] = out[i] || about[oci.Digest(d.Annotations[oci.AnnotationAbout])]
	}
	return out
}

func without(list []oci.Descriptor, gone []bool) []bool {
	stays, goes := map[oci.Digest]bool{}, map[oci.Digest]bool{}
	for i, d := range list {
		stays[d.Digest] = stays[d.Digest] || !gone[i]
		goes[d.Digest] = goes[d.Digest] || gone[i]
	}
	out := make([]bool, len(list))
	for i, d := range list {
		about := oci.Digest(d.Annotations[oci.AnnotationAbout])
		out[i] = !gone[i] && !(goes[about] && !stays[about])
	}
	return out
}

// Retain takes out the entries that are not to be kept. What stays keeps its
// bytes. ErrInvalid if nothing would stay.
func (x *Index) Retain(keep []bool) error {
	if !slices.Contains(keep, true) {
		return oci.Errorf(oci.ErrInvalid, "nothing of the index would be left")
	}
	for i := len(x.entries) - 1; i >= 0; i-- {
		if !keep[i] {
			x.RemoveEntry(i)
		}
	}
	return nil
}

// drop takes out entries, and the attestations about them.
func (x *Index) drop(gone func(i int) bool) error {
	list := x.descriptors()
	chosen := make([]bool, len(list))
	for i := range list {
		chosen[i] = gone(i)
	}
	keep := without(list, chosen)
	for i, d := range list {
		if !keep[i] && !chosen[i] {
			x.note(fmt.Sprintf("attestation %s goes with the image that it is about", d.Digest))
		}
	}
	return x.Retain(keep)
}
