// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

const (
	unknown  = "NOASSERTION" // SPDX 2.3, "7.7 Package download location", and elsewhere
	rootID   = "image"       // of what a document is about
	document = "DOCUMENT"
)

// An spdxDoc is a document that is being written (SPDX 2.3).
type spdxDoc struct{ v2_3.Document }

// writeSPDX writes SPDX 2.3 as JSON.
func writeSPDX(b *bill) ([]byte, error) {
	at := time.Unix(0, 0)
	if !b.created.IsZero() {
		at = b.created
	}
	name := fileName(b.s)
	d := &spdxDoc{v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: document, DocumentName: name,
		CreationInfo: &v2_3.CreationInfo{Created: at.UTC().Format("2006-01-02T15:04:05Z"), Creators: []common.Creator{{CreatorType: "Tool", Creator: "dray-" + b.tool}}},
	}}
	d.add(imagePackage(rootID, b.s))
	d.relate(document, common.TypeRelationshipDescribe, rootID)
	d.base(b.s)
	for n, l := range b.s.Layers {
		id := fmt.Sprintf("layer-%d", n+1)
		p := newPackage(id, string(l.Digest), "ARCHIVE")
		p.PackageChecksums = digestSums(l.Digest)
		p.PackageSummary = l.MediaType
		d.add(p)
		d.relate(rootID, common.TypeRelationshipContains, id)
	}
	if isIndex(b.s) {
		for n, i := range b.s.Images {
			id := fmt.Sprintf("image-%d", n+1)
			d.add(imagePackage(id, i))
			d.relate(id, common.TypeRelationshipVariantOf, rootID)
		}
	}
	for _, n := range b.items {
		d.item(n)
	}
	for _, n := range b.items {
		for _, need := range n.needs {
			d.relate(n.id, common.TypeRelationshipDependsOn, need)
		}
	}
	sum, err := seed(d.Document)
	if err != nil {
		return nil, err
	}
	d.DocumentNamespace = "https://spdx.org/spdxdocs/dray/" + name + "-" + hex.EncodeToString(sum[:16])
	var out bytes.Buffer
	err = spdxjson.Write(&d.Document, &out, spdxjson.EscapeHTML(false))
	return out.Bytes(), err
}

func newPackage(id, name, purpose string) *spdx.Package {
	return &spdx.Package{PackageName: name, PackageSPDXIdentifier: common.ElementID(id), PackageDownloadLocation: unknown,
		PackageLicenseConcluded: unknown, PackageLicenseDeclared: unknown, PackageCopyrightText: unknown, PrimaryPackagePurpose: purpose}
}

// imagePackage is an image, or an index of several.
func imagePackage(id string, s build.Subject) *spdx.Package {
	p := newPackage(id, appName(s), "CONTAINER")
	p.PackageVersion = string(s.Descriptor.Digest)
	p.PackageChecksums = digestSums(s.Descriptor.Digest)
	p.PackageExternalReferences = purlRef(imageURL(s))
	if !isIndex(s) {
		p.PackageSummary = oci.FormatPlatform(s.Platform)
	}
	return p
}

// base adds what the image was built on.
func (d *spdxDoc) base(s build.Subject) {
	was := baseDigest(s)
	if was == "" {
		return
	}
	p := newPackage("base", baseName(s.Base), "CONTAINER")
	p.PackageVersion = string(was)
	p.PackageChecksums = digestSums(was)
	p.PackageExternalReferences = purlRef(baseURL(s.Base, was))
	d.add(p)
	d.relate(rootID, common.TypeRelationshipDescendantOf, "base")
}

// item adds a component.
func (d *spdxDoc) item(n *item) {
	p := newPackage(n.id, n.Name, spdxPurpose(n.Kind))
	p.PackageVersion = n.Version
	p.PackageFileName = n.Path
	if n.PURL != "" {
		p.PackageExternalReferences = purlRef(n.PURL)
	}
	if l := licence(n.License); l != "" {
		p.PackageLicenseDeclared = l
	} else if n.License != "" {
		p.PackageLicenseComments = n.License
	}
	for _, a := range algorithms {
		if v := n.Hashes[a.name]; v != "" {
			p.PackageChecksums = append(p.PackageChecksums, common.Checksum{Algorithm: common.ChecksumAlgorithm(a.spdx), Value: v})
		}
	}
	p.PackageComment = strings.Join(sums(n.Component), "\n")
	d.add(p)
	if n.top {
		d.relate(rootID, common.TypeRelationshipContains, n.id)
	}
}

func (d *spdxDoc) add(p *spdx.Package) { d.Packages = append(d.Packages, p) }

func (d *spdxDoc) relate(from, how, to string) {
	d.Relationships = append(d.Relationships, &spdx.Relationship{Relationship: how,
		RefA: common.DocElementID{ElementRefID: common.ElementID(from)}, RefB: common.DocElementID{ElementRefID: common.ElementID(to)}})
}

func spdxPurpose(kind string) string {
	switch kind {
	case "application", "framework", "file":
		return strings.ToUpper(kind)
	}
	return "LIBRARY"
}

func purlRef(purl string) []*v2_3.PackageExternalReference {
	return []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl}}
}

// digestSums are the checksums of a manifest or blob.
func digestSums(d oci.Digest) (all []common.Checksum) {
	for _, a := range algorithms {
		if string(d.Algorithm()) == a.name {
			all = append(all, common.Checksum{Algorithm: common.ChecksumAlgorithm(a.spdx), Value: d.Encoded()})
		}
	}
	return all
}

// baseDigest is that of what a subject was built on: of an index the index; "" if
// it was built on nothing.
func baseDigest(s build.Subject) oci.Digest {
	switch {
	case s.Base == nil:
		return ""
	case isIndex(s):
		return s.Base.Index.Digest
	}
	return s.Base.Image.Digest
}
