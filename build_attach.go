// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/transfer"
)

// attaching is a source of what was built and of the documents about it.
type attaching struct {
	*edit.Sealed
	made  map[oci.Digest]oci.Blob
	along []transfer.Companion
}

// add makes an artifact of each document (image-spec, manifest.md, "Guidelines
// for Artifact Usage").
func (a *attaching) add(docs []build.Document) error {
	for _, d := range docs {
		data, empty := oci.Bytes(d.ArtifactType, d.Data), oci.Bytes(v1.MediaTypeEmptyJSON, []byte("{}"))
		subject := oci.Descriptor{MediaType: d.Subject.MediaType, Digest: d.Subject.Digest, Size: d.Subject.Size}
		m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: d.ArtifactType,
			Config: empty.Descriptor(), Layers: []oci.Descriptor{data.Descriptor()}, Annotations: d.Annotations}
		if d.Tag == "" {
			m.Subject = &subject
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		root := oci.Bytes(m.MediaType, raw)
		for _, b := range []oci.Blob{data, empty, root} {
			a.made[b.Descriptor().Digest] = b
		}
		c := transfer.Companion{Descriptor: root.Descriptor(), Tag: d.Tag}
		c.Descriptor.ArtifactType, c.Descriptor.Annotations = d.ArtifactType, d.Annotations
		a.along = append(a.along, c)
	}
	return nil
}

// descriptors are those of the artifacts, as lists of referrers have them.
func (a *attaching) descriptors() (all []oci.Descriptor) {
	for _, c := range a.along {
		all = append(all, c.Descriptor)
	}
	return all
}

// Resolve implements oci.Source.
func (a *attaching) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if b := a.made[oci.Digest(name)]; b != nil {
		return b.Descriptor(), nil
	}
	return a.Sealed.Resolve(ctx, name)
}

// Stat implements oci.Source.
func (a *attaching) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if b := a.made[d.Digest]; b != nil {
		return b.Descriptor(), nil
	}
	return a.Sealed.Stat(ctx, d)
}

// Open implements oci.Source.
func (a *attaching) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if b := a.made[d.Digest]; b != nil {
		return b.Open(ctx)
	}
	return a.Sealed.Open(ctx, d)
}

// key names what is attached at a place.
func (a *attaching) key(to ref.Ref) string {
	words := []string{to.Repo().String(), string(a.Root.Digest)}
	for _, c := range a.along {
		words = append(words, string(c.Descriptor.Digest), c.Tag)
	}
	return oci.FromBytes([]byte(strings.Join(words, "\n"))).Encoded()
}

// markAge is how long it is believed that what was attached is there still: registries
// are cleaned up.
const markAge = 24 * time.Hour

// isAttached reports whether a run before this one has attached the same, and
// notes that this one will have. An image that has been there since, under the
// same digest, still has it.
func (b *building) isAttached(key, to string) bool {
	if b.cacheDir() == "" {
		return false
	}
	path := filepath.Join(b.cacheDir(), "attached", key)
	info, err := os.Stat(path)
	fresh := err == nil && time.Since(info.ModTime()).Abs() < markAge
	if fresh && !b.o.AttachAgain {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attached = append(b.attached, mark{path, to})
	return false
}

// A mark is a file that says that documents are attached to what is at a place.
type mark struct{ path, to string }

// remember makes the marks of the images that have been written, or were there.
func (b *Built) remember() {
	for _, m := range b.attached {
		if !slices.ContainsFunc(b.Images, func(i *transfer.Image) bool { return i.Kept && i.To == m.to }) {
			_ = disk.Keep(m.path, func(io.Writer) error { return nil }) // else it is asked again
		}
	}
}

func (b *building) noteBare(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bare = append(b.bare, name)
}
