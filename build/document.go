// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"

	"github.com/dray-tools/dray/oci"
)

// A Component is something that an image is made of, for its bill of materials.
type Component struct {
	Kind    string // application, library, framework, file
	Name    string
	Version string
	PURL    string            // package URL; "": none
	License string            // SPDX expression; "": not known
	Path    string            // in the image; "": in another component
	Hashes  map[string]string // of its content, hexadecimal, by algorithm as sha256
	Sums    map[string]string // as its ecosystem has them, by kind: "h1" of Go's modules
	// Needs are the PURLs, or where there is none the names, of components that it
	// is built from or depends on.
	Needs []string
}

// A Material is an input of a build that came from elsewhere, or is kept under
// version control: a base, a repository at a revision (SLSA v1,
// ResourceDescriptor).
type Material struct {
	Name   string            // what it is: base, source, context
	URI    string            // as pkg:docker/…, git+https://…, or that of a file; never with credentials
	Digest map[string]string // hexadecimal, by algorithm: sha256, gitCommit
	// Changed says that it was changed since: Digest is what it was before.
	Changed bool
}

// About describes a build, for its provenance.
type About struct {
	Type string // of the builder: go, files, jar, dockerfile
	// Parameters are what the user chose, as JSON will have it: no secrets, no paths
	// of the machine.
	Parameters map[string]any
	// Source is what was built, if it is under version control.
	Source *Material
}

// A Describer is a Builder that can tell more of itself. It is asked after Build.
type Describer interface {
	Describe(ctx context.Context) (About, error)
}

// A Subject is an image or index that has been built and sealed.
type Subject struct {
	Name       string // of the builder
	Descriptor oci.Descriptor
	Platform   oci.Platform // of an image; zero of an index of several
	Base       *Base        // nil: none, or of an index whose images have different ones
	Layers     []oci.Descriptor
	DiffIDs    []oci.Digest
	Components []Component
	Materials  []Material
	About      About
	Images     []Subject // of an index
}

// A Document is something to be attached to an image as a referrer
// (image-spec, "Guidelines for Artifact Usage").
type Document struct {
	Subject      oci.Descriptor
	ArtifactType string // and media type of the content
	Data         []byte
	Annotations  map[string]string
	Name         string // of a file that it can be written to: app-linux-amd64.spdx.json
	Tag          string // that it is kept under as well, as cosign does: sha256-….sbom; "": none
}

// An Attestor makes documents about what has been built: the same for the same
// subject.
type Attestor interface {
	Attest(ctx context.Context, s Subject) ([]Document, error)
}
