// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
)

// A Manifest is an image manifest, an artifact manifest or an index, kept byte
// for byte in Raw. The other fields are what Raw says and must not be used to
// write it again.
type Manifest struct {
	Descriptor   Descriptor // of Raw: media type, digest, size
	Raw          []byte
	Config       *Descriptor  // of images and artifacts
	Layers       []Descriptor // of images, and the blobs of artifacts
	Manifests    []Descriptor // of indexes
	Subject      *Descriptor
	ArtifactType string
	Annotations  map[string]string
}

// IsIndex reports whether this is an index (or a Docker manifest list).
func (m *Manifest) IsIndex() bool { return IsIndex(m.Descriptor.MediaType) }

// Children are what must be in a repository before the manifest: config and
// layers, or the manifests of an index. The subject is not among them
// (distribution-spec allows it to be missing). Config and layers are blobs,
// whatever they call themselves: a media type of manifests is not kept.
func (m *Manifest) Children() []Descriptor {
	if m.IsIndex() {
		return m.Manifests
	}
	out := make([]Descriptor, 0, len(m.Layers)+1)
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	out = append(out, m.Layers...)
	for i := range out {
		if IsManifest(out[i].MediaType) {
			out[i].MediaType = "application/octet-stream"
		}
	}
	return out
}

// Blob makes the manifest one that can be Put.
func (m *Manifest) Blob() Blob { return Bytes(m.Descriptor.MediaType, m.Raw, m.Descriptor.Digest) }

// The keys of manifests, indexes and descriptors (image-spec).
var manifestKeys = []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests",
	"subject", "annotations", "digest", "size", "urls", "data", "platform", "os", "architecture", "variant",
	"os.version", "os.features", "fsLayers", "history", "signatures"}

type wireManifest struct {
	SchemaVersion *int              `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        *[]Descriptor     `json:"layers"`
	Blobs         *[]Descriptor     `json:"blobs"`
	Manifests     *[]Descriptor     `json:"manifests"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// ParseManifest reads a manifest strictly. mediaType is what its source called
// it, or empty; the document must not say otherwise. ErrInvalid if the
// document is broken or can be read in two ways, ErrUnsupported for Docker's
// schema 1.
func ParseManifest(mediaType string, raw []byte) (*Manifest, error) {
	if len(raw) > MaxManifest {
		return nil, Errorf(ErrInvalid, "manifest has more than %d bytes", MaxManifest)
	}
	if err := CheckJSON(raw, manifestKeys...); err != nil {
		return nil, err
	}
	var w wireManifest
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, Errorf(ErrInvalid, "not a manifest: %w", err)
	}
	if err := w.checkShape(mediaType); err != nil {
		return nil, err
	}
	m := &Manifest{Raw: raw, Config: w.Config, Subject: w.Subject, ArtifactType: w.ArtifactType, Annotations: w.Annotations}
	m.Descriptor = Descriptor{MediaType: w.kind(mediaType), Digest: FromBytes(raw), Size: int64(len(raw))}
	for _, list := range []*[]Descriptor{w.Layers, w.Blobs} {
		if list != nil {
			m.Layers = append(m.Layers, *list...)
		}
	}
	if w.Manifests != nil {
		m.Manifests = *w.Manifests
	}
	if n := len(m.Layers) + len(m.Manifests); n > MaxFanOut {
		return nil, Errorf(ErrInvalid, "manifest has %d entries, more than %d", n, MaxFanOut)
	}
	for _, d := range append(m.Children(), subjects(m.Subject)...) {
		if err := CheckDescriptor(d); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func subjects(d *Descriptor) []Descriptor {
	if d == nil {
		return nil
	}
	return []Descriptor{*d}
}

// checkShape refuses what is not a manifest and what could be taken for two
// kinds of one (CVE-2021-41190).
func (w *wireManifest) checkShape(mediaType string) error {
	old := w.FSLayers != nil || w.SchemaVersion != nil && *w.SchemaVersion == 1 || mediaType == MediaSchema1 || mediaType == MediaSchema1Signed
	image, index := w.Layers != nil || w.Config != nil, w.Manifests != nil
	kind := w.kind(mediaType)
	switch {
	case old && !image && !index:
		return Errorf(ErrUnsupported, "manifest has Docker's schema 1, which registries no longer take; pull it with an old Docker engine and push it again to convert it")
	case image && index, old, w.Blobs != nil && (image || index):
		return Errorf(ErrInvalid, "manifest is ambiguous: it is an image and an index at once")
	case w.MediaType != "" && mediaType != "" && w.MediaType != mediaType && IsManifest(mediaType):
		return Errorf(ErrInvalid, "manifest is ambiguous: its source calls it %s, it calls itself %s", Quote(mediaType), Quote(w.MediaType))
	case !IsManifest(kind):
		return Errorf(ErrInvalid, "manifest calls itself %s, which is no media type of manifests", Quote(kind))
	case index != IsIndex(kind), w.Blobs != nil && (kind == MediaManifest || kind == MediaDockerManifest):
		return Errorf(ErrInvalid, "manifest does not have the form of its media type %s", Quote(kind))
	case !image && !index && w.Blobs == nil && kind != MediaArtifact:
		return Errorf(ErrInvalid, "not a manifest: it has neither layers nor manifests")
	}
	return nil
}

// kind is the media type: what the document says, else what its source says,
// else what its form shows.
func (w *wireManifest) kind(mediaType string) string {
	switch {
	case w.MediaType != "":
		return w.MediaType
	case IsManifest(mediaType):
		return mediaType
	case w.Manifests != nil:
		return MediaIndex
	case w.Blobs != nil:
		return MediaArtifact
	}
	return MediaManifest
}

// Fetch reads a manifest or index from its source, at most MaxManifest bytes.
func Fetch(ctx context.Context, s Source, d Descriptor) (*Manifest, error) {
	raw, err := ReadAll(ctx, s, d, MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(d.MediaType, raw)
	if err != nil {
		return nil, Wrap("", string(d.Digest), err)
	}
	m.Descriptor.Digest = d.Digest // the reader has verified it, whatever the algorithm
	return m, nil
}

// ReadAll reads a small blob whole, ErrInvalid if it has more than limit bytes.
// Data embedded in the descriptor is used instead of a request.
func ReadAll(ctx context.Context, s Source, d Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, Errorf(ErrInvalid, "%s has %d bytes, more than %d", d.Digest, d.Size, limit)
	}
	if d.Data != nil && CheckDescriptor(d) == nil {
		return d.Data, nil
	}
	r, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var buf bytes.Buffer // grows as bytes arrive: the size is a claim
	_, err = io.Copy(&buf, Verify(r, d))
	return buf.Bytes(), err
}
