// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// An Image is an image that is being changed. It has no digest until it is
// sealed. It is not safe for concurrent use.
type Image struct {
	g        *graph        // nil if it is new
	man      *oci.Manifest // as it was; nil if it is new
	was      *image.Image  // nil if it is new, or an artifact
	kind     string        // media type of the manifest
	manifest *jsonedit.Document
	config   *jsonedit.Document // nil of an artifact
	told     told               // the history before it was edited
	layers   []Layer
	notes    []string
}

// A Layer is a layer of an image that is being changed.
type Layer struct {
	Descriptor oci.Descriptor
	DiffID     oci.Digest
	// Blob is where the bytes are, if the layer was made here and is in no
	// repository yet.
	Blob oci.Blob
	// From is the repository that has it, if Blob is nil.
	From oci.Source
}

// New makes an image without layers, from scratch. docker gives it Docker's
// media types.
func New(p oci.Platform, docker bool) (*Image, error) {
	i := &Image{kind: oci.MediaManifest}
	config, err := json.Marshal(v1.Image{Platform: p, RootFS: v1.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}})
	if err != nil {
		return nil, err
	}
	manifest := `{"schemaVersion":2,"mediaType":"` + oci.MediaManifest + `","config":{"mediaType":"` + oci.MediaConfig + `","digest":"","size":0},"layers":[]}`
	if i.config, err = jsonedit.Parse(config); err == nil {
		i.manifest, err = jsonedit.Parse([]byte(manifest))
	}
	if err == nil && docker {
		err = i.toFamily(true)
	}
	return i, err
}

func ofManifest(g *graph, m *oci.Manifest) (*Image, error) {
	doc, err := jsonedit.Parse(m.Raw)
	return &Image{g: g, man: m, kind: m.Descriptor.MediaType, manifest: doc}, err
}

// start takes the config.
func (i *Image) start(was *image.Image) (err error) {
	i.was = was
	for n, d := range i.man.Layers {
		i.layers = append(i.layers, Layer{Descriptor: d, DiffID: was.DiffIDs[n], From: i.g.source})
	}
	if i.config, _, err = parseConfig(was.Config, len(i.layers)); err == nil {
		i.told = i.tell()
	}
	return err
}

// Clone is another image with the same content, which is changed on its own.
func (i *Image) Clone() (*Image, error) {
	c := *i
	c.layers, c.notes = slices.Clone(i.layers), slices.Clone(i.notes)
	var err error
	if c.manifest, err = jsonedit.Parse(i.manifest.Bytes()); err == nil && i.config != nil {
		c.config, err = jsonedit.Parse(i.config.Bytes())
	}
	return &c, err
}

// Was implements Node.
func (i *Image) Was() oci.Descriptor {
	if i.man == nil {
		return oci.Descriptor{}
	}
	return i.man.Descriptor
}

// Apply makes changes, one after the other.
func (i *Image) Apply(edits ...Edit) error {
	for _, e := range edits {
		if err := e(i); err != nil {
			return err
		}
	}
	return nil
}

// IsArtifact reports whether there is no image config: only annotations and
// media types can be changed then.
func (i *Image) IsArtifact() bool { return i.config == nil }

// IsDocker reports whether the image has Docker's media types.
func (i *Image) IsDocker() bool { return oci.IsDocker(i.kind) }

// Layers are the layers as they are now, the lowest first.
func (i *Image) Layers() []Layer { return i.layers }

// Config is the config as it is now, for reading. Zero of an artifact.
func (i *Image) Config() (c v1.Image, err error) {
	if i.config == nil {
		return c, nil
	}
	if err := json.Unmarshal(i.config.Bytes(), &c); err != nil {
		return c, oci.Errorf(oci.ErrInvalid, "config: %w", err)
	}
	return c, nil
}

// RawConfig is the config's JSON as it is now; nil of an artifact.
func (i *Image) RawConfig() []byte {
	if i.config == nil {
		return nil
	}
	return i.config.Bytes()
}

// RawManifest is the manifest's JSON, in which what the config and the media
// types have become is not seen before Seal.
func (i *Image) RawManifest() []byte { return i.manifest.Bytes() }

// Platform is the platform that the config says now.
func (i *Image) Platform() (p oci.Platform) {
	for key, to := range map[string]any{"architecture": &p.Architecture, "os": &p.OS, "os.version": &p.OSVersion, "os.features": &p.OSFeatures, "variant": &p.Variant} {
		if raw := i.Get(key); raw != nil {
			_ = json.Unmarshal(raw, to) // was valid when it was read, and what is set is
		}
	}
	return p
}

// Annotation is an annotation of the manifest as it is now.
func (i *Image) Annotation(key string) string {
	var v string
	_ = json.Unmarshal(i.manifest.Get("annotations", key), &v)
	return v
}

// note adds a line about what was decided or left out.
func (i *Image) note(text string) {
	if text != "" {
		i.notes = append(i.notes, text)
	}
}

// Set puts a value into the config, at a path of keys: Set("sh", "config",
// "User"). Objects on the way are made if they are not there or null. What has
// the value already is left as it is.
func (i *Image) Set(value any, path ...string) error {
	if i.config == nil {
		return oci.Errorf(oci.ErrUnsupported, "an artifact, which has no image config")
	}
	return set(i.config, value, path...)
}

// Remove takes a member out of the config; an object that it leaves empty stays.
func (i *Image) Remove(path ...string) {
	if i.config != nil {
		i.config.Remove(keys(path)...)
	}
}

// Get is a value of the config as it is written; nil if it is not there.
func (i *Image) Get(path ...string) json.RawMessage {
	if i.config == nil {
		return nil
	}
	return i.config.Get(keys(path)...)
}

func keys(path []string) []any {
	out := make([]any, len(path))
	for n, k := range path {
		out[n] = k
	}
	return out
}

// set puts a value at a path of keys.
func set(doc *jsonedit.Document, value any, path ...string) error {
	return setAt(doc, value, keys(path)...)
}

// setAt puts a value at a place, whose last key only may be missing below
// elements of arrays, and leaves alone what is so already.
func setAt(doc *jsonedit.Document, value any, at ...any) error {
	for n := 1; n < len(at); n++ {
		if doc.Len(at[:n]...) < 0 && isNull(doc.Get(at[:n]...)) {
			if err := doc.Set(json.RawMessage("{}"), at[:n]...); err != nil {
				return err
			}
		}
	}
	if same(doc.Get(at...), value) {
		return nil
	}
	return doc.Set(value, at...)
}

func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

// same reports whether JSON says a value already.
func same(raw json.RawMessage, value any) bool {
	if raw == nil {
		return false
	}
	want, err := json.Marshal(value)
	if err != nil {
		return false
	}
	return jsonedit.Same(raw, want)
}
