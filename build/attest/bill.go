// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// A Format is a way to write a bill of materials.
type Format string

// The formats, as users name them.
const (
	SPDX      Format = "spdx"      // SPDX 2.3, JSON
	CycloneDX Format = "cyclonedx" // CycloneDX 1.7, JSON
)

// ParseFormat is the format that a user names. ErrInvalid if there is none of
// that name.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); forms[f].write != nil {
		return f, nil
	}
	return "", oci.Errorf(oci.ErrInvalid, "no bill of materials is called %s: there are %s and %s", oci.Quote(s), SPDX, CycloneDX)
}

// A form is what one has to know of a format.
type form struct {
	write     func(b *bill) ([]byte, error)
	mediaType string // of a referrer
	tagType   string // of the layer under a tag of cosign's
	ext       string // of files
}

var forms = map[Format]form{
	SPDX:      {writeSPDX, "application/spdx+json", "text/spdx+json", ".spdx.json"},
	CycloneDX: {writeCycloneDX, "application/vnd.cyclonedx+json", "application/vnd.cyclonedx+json", ".cdx.json"},
}

// A Bill is a build.Attestor that writes bills of materials: one about each
// image, and one about their index, which lists them.
type Bill struct {
	Format Format
	// Known writes them only about what has components that are known.
	Known bool
	// Tag keeps each under the tag sha256-….sbom as well, as cosign and ko do.
	Tag bool
	// Created is when documents are said to have been made; zero: 1970 where the
	// format needs a time.
	Created time.Time
	Version string // of dray
}

// Attest implements build.Attestor.
func (b Bill) Attest(_ context.Context, s build.Subject) (docs []build.Document, err error) {
	f := forms[b.Format]
	if f.write == nil {
		return nil, oci.Errorf(oci.ErrUnsupported, "a bill of materials called %s", oci.Quote(string(b.Format)))
	}
	known := func(s build.Subject) bool { return len(s.Components) > 0 }
	if b.Known && !known(s) && !slices.ContainsFunc(s.Images, known) {
		return nil, nil
	}
	for _, about := range subjects(s) {
		data, err := f.write(newBill(about, b))
		if err != nil {
			return nil, err
		}
		d := build.Document{Subject: about.Descriptor, ArtifactType: f.mediaType, Data: data, Name: fileName(about) + f.ext}
		docs = append(docs, d)
		if b.Tag {
			d.ArtifactType, d.Name, d.Tag = f.tagType, "", strings.ReplaceAll(string(about.Descriptor.Digest), ":", "-")+".sbom"
			docs = append(docs, d)
		}
	}
	return docs, nil
}

// subjects are what documents are about: each image once, and an index.
func subjects(s build.Subject) (all []build.Subject) {
	seen := map[oci.Digest]bool{}
	for _, i := range append(slices.Clone(s.Images), s) {
		if d := i.Descriptor.Digest; !seen[d] {
			seen[d] = true
			all = append(all, i)
		}
	}
	return all
}

// isIndex reports whether a subject is an index. An image may list itself as its
// only image.
func isIndex(s build.Subject) bool { return oci.IsIndex(s.Descriptor.MediaType) }
