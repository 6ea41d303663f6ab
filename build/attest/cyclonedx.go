// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// writeCycloneDX writes CycloneDX as JSON, in the newest version that the library
// knows.
func writeCycloneDX(b *bill) ([]byte, error) {
	doc := cdx.NewBOM()
	top := imageComponent(rootID, b.s)
	var layers []cdx.Property
	for _, l := range b.s.Layers {
		layers = append(layers, cdx.Property{Name: "dray:layer", Value: string(l.Digest)})
	}
	top.Properties = some(layers)
	if was := baseDigest(b.s); was != "" {
		base := cdx.Component{BOMRef: "base", Type: cdx.ComponentTypeContainer, Name: baseName(b.s.Base), Version: string(was), Hashes: digestHashes(was), PackageURL: baseURL(b.s.Base, was)}
		top.Pedigree = &cdx.Pedigree{Ancestors: &[]cdx.Component{base}}
	}
	doc.Metadata = &cdx.Metadata{Component: &top,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "dray", Version: b.tool}}}}
	if !b.created.IsZero() {
		doc.Metadata.Timestamp = b.created.UTC().Format(time.RFC3339)
	}
	var list []cdx.Component
	below := b.topIDs()
	var deps []cdx.Dependency
	if isIndex(b.s) {
		for n, i := range b.s.Images {
			id := fmt.Sprintf("image-%d", n+1)
			list = append(list, imageComponent(id, i))
			below = append(below, id)
			deps = append(deps, cdx.Dependency{Ref: id})
		}
	}
	deps = append(deps, cdx.Dependency{Ref: rootID, Dependencies: some(below)})
	for _, n := range b.items {
		list = append(list, itemComponent(n))
		deps = append(deps, cdx.Dependency{Ref: n.id, Dependencies: some(n.needs)})
	}
	doc.Components, doc.Dependencies = some(list), some(deps)
	sum, err := seed(doc)
	if err != nil {
		return nil, err
	}
	doc.SerialNumber = "urn:uuid:" + uuid(sum)
	var out bytes.Buffer
	err = cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetEscapeHTML(false).Encode(doc)
	return out.Bytes(), err
}

// imageComponent is an image, or an index of several.
func imageComponent(ref string, s build.Subject) cdx.Component {
	c := cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeContainer, Name: appName(s), Version: string(s.Descriptor.Digest),
		MIMEType: s.Descriptor.MediaType, Hashes: digestHashes(s.Descriptor.Digest), PackageURL: imageURL(s)}
	if !isIndex(s) {
		c.Description = oci.FormatPlatform(s.Platform)
	}
	return c
}

func itemComponent(n *item) cdx.Component {
	c := cdx.Component{BOMRef: n.id, Type: cdxType(n.Kind), Name: n.Name, Version: n.Version, PackageURL: n.PURL}
	if l := licence(n.License); l != "" {
		c.Licenses = &cdx.Licenses{{Expression: l}}
	} else if n.License != "" {
		c.Licenses = &cdx.Licenses{{License: &cdx.License{Name: n.License}}}
	}
	var hashes []cdx.Hash
	for _, a := range algorithms {
		if v := n.Hashes[a.name]; v != "" {
			hashes = append(hashes, cdx.Hash{Algorithm: cdx.HashAlgorithm(a.cdx), Value: v})
		}
	}
	c.Hashes = some(hashes)
	if n.Path != "" {
		c.Evidence = &cdx.Evidence{Occurrences: &[]cdx.EvidenceOccurrence{{Location: n.Path}}}
	}
	var props []cdx.Property
	for _, s := range sums(n.Component) {
		props = append(props, cdx.Property{Name: "dray:checksum", Value: s})
	}
	c.Properties = some(props)
	return c
}

func cdxType(kind string) cdx.ComponentType {
	if t := cdx.ComponentType(kind); slices.Contains([]cdx.ComponentType{cdx.ComponentTypeApplication, cdx.ComponentTypeFramework, cdx.ComponentTypeFile}, t) {
		return t
	}
	return cdx.ComponentTypeLibrary
}

func digestHashes(d oci.Digest) *[]cdx.Hash {
	for _, a := range algorithms {
		if string(d.Algorithm()) == a.name {
			return &[]cdx.Hash{{Algorithm: cdx.HashAlgorithm(a.cdx), Value: d.Encoded()}}
		}
	}
	return nil
}

// some is a list as the library wants it: nil if it is empty.
func some[T any](list []T) *[]T {
	if len(list) == 0 {
		return nil
	}
	return &list
}

// uuid makes a UUID of a digest (RFC 9562, version 8: what its maker likes).
func uuid(sum []byte) string {
	u := slices.Clone(sum[:16])
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
