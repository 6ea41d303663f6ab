// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// manifest returns what a manifest becomes, given the digest that it had.
func (r *conversionRun) manifest(was oci.Digest) (*oci.Manifest, error) {
	if m := r.new[was]; m != nil {
		return m, nil
	}
	m := r.old[was]
	doc, err := jsonedit.Parse(m.Raw)
	if err != nil {
		return nil, err
	}
	e := &changes{doc: doc}
	if m.IsIndex() {
		err = r.index(e, m)
	} else {
		err = r.content(e, m)
	}
	if err != nil {
		return nil, err
	}
	if m.Subject != nil {
		if err := r.pointer(e, *m.Subject, "subject"); err != nil {
			return nil, err
		}
	}
	kind, err := r.c.mediaType(m.Descriptor.MediaType)
	if err != nil {
		return nil, err
	}
	if kind != m.Descriptor.MediaType {
		e.set(kind, "mediaType")
	}
	if e.err == nil && e.changed {
		m, e.err = oci.ParseManifest(kind, doc.Bytes())
	}
	if e.err != nil {
		return nil, e.err
	}
	r.new[was] = m
	return m, nil
}

// index points the entries of an index at what its children have become.
func (r *conversionRun) index(e *changes, m *oci.Manifest) error {
	for i, d := range m.Manifests {
		if err := r.pointer(e, d, "manifests", i); err != nil {
			return err
		}
		about := oci.Digest(d.Annotations[oci.AnnotationAbout])
		if r.old[about] == nil {
			continue
		}
		now, err := r.manifest(about)
		if err != nil {
			return err
		}
		if now.Descriptor.Digest != about {
			e.set(now.Descriptor.Digest, "manifests", i, "annotations", oci.AnnotationAbout)
		}
	}
	return nil
}

// pointer changes a descriptor of a manifest that is in the graph.
func (r *conversionRun) pointer(e *changes, d oci.Descriptor, at ...any) error {
	if r.old[d.Digest] == nil {
		return nil
	}
	now, err := r.manifest(d.Digest)
	if err != nil {
		return err
	}
	if now.Descriptor.Digest != d.Digest {
		e.descriptor(now.Descriptor, d, at...)
	}
	return nil
}

// content changes the descriptors of config and layers.
func (r *conversionRun) content(e *changes, m *oci.Manifest) error {
	if m.Config == nil { // the withdrawn artifact manifest
		return nil
	}
	img := r.imgs[m.Descriptor.Digest]
	kind, err := r.c.mediaType(m.Config.MediaType)
	if err != nil {
		return err
	}
	config := *m.Config
	config.MediaType = kind
	if img != nil {
		if err := r.config(img, &config); err != nil {
			return err
		}
	}
	e.descriptor(config, *m.Config, "config")
	for i, d := range m.Layers {
		if err := r.layer(e, d, i, img != nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *conversionRun) layer(e *changes, d oci.Descriptor, i int, converted bool) error {
	now := d
	var done outcome
	want := false
	if converted {
		want, _ = r.c.wants(d)
	}
	if want {
		done = r.c.conversion(d).result()
		now.MediaType, now.Digest, now.Size = r.c.o.Packing.MediaType(d.MediaType), done.Digest, done.Size
	}
	kind, err := r.c.mediaType(now.MediaType)
	if err != nil {
		return err
	}
	now.MediaType = kind
	e.descriptor(now, d, "layers", i)
	if want {
		e.annotations(d, done, i)
	}
	return nil
}

// config changes the diff IDs of a config, which only eStargz asks for.
func (r *conversionRun) config(img *image.Image, d *oci.Descriptor) error {
	doc, err := jsonedit.Parse(img.Config)
	if err != nil {
		return err
	}
	e := &changes{doc: doc}
	for i, l := range img.Manifest.Layers {
		if want, _ := r.c.wants(l); !want {
			continue
		}
		if done := r.c.conversion(l).result(); done.DiffID != img.DiffIDs[i] {
			e.set(done.DiffID, "rootfs", "diff_ids", i)
		}
	}
	if e.err != nil || !e.changed {
		return e.err
	}
	b := oci.Bytes(d.MediaType, doc.Bytes())
	r.c.keep(b)
	d.Digest, d.Size = b.Descriptor().Digest, b.Descriptor().Size
	return nil
}

// changes are a series of changes to a document, of which one can fail.
type changes struct {
	doc     *jsonedit.Document
	changed bool
	err     error
}

func (e *changes) set(value any, at ...any) {
	if e.err == nil {
		e.err, e.changed = e.doc.Set(value, at...), true
	}
}

func (e *changes) remove(at ...any) {
	if e.doc.Remove(at...) {
		e.changed = true
	}
}

// descriptor changes what differs, and takes out what is about other content.
func (e *changes) descriptor(now, was oci.Descriptor, at ...any) {
	in := func(key string) []any { return append(append([]any{}, at...), key) }
	if now.MediaType != was.MediaType {
		e.set(now.MediaType, in("mediaType")...)
	}
	if now.Digest == was.Digest {
		return
	}
	e.set(now.Digest, in("digest")...)
	e.set(now.Size, in("size")...)
	e.remove(in("data")...)
	e.remove(in("urls")...)
}

// annotations brings those of a layer up to date.
func (e *changes) annotations(d oci.Descriptor, done outcome, i int) {
	left := len(d.Annotations)
	for k := range d.Annotations {
		if _, stays := done.Annotations[k]; describesPacking(k) && !stays {
			e.remove("layers", i, "annotations", k)
			left--
		}
	}
	if d.Annotations["containerd.io/uncompressed"] != "" && done.DiffID != done.Source {
		e.set(done.DiffID, "layers", i, "annotations", "containerd.io/uncompressed")
	}
	if left == 0 && len(done.Annotations) == 0 && len(d.Annotations) > 0 {
		e.remove("layers", i, "annotations")
	}
	if len(done.Annotations) == 0 {
		return
	}
	if e.doc.Get("layers", i, "annotations") == nil || string(e.doc.Get("layers", i, "annotations")) == "null" {
		e.set(map[string]string{}, "layers", i, "annotations")
	}
	for _, k := range []string{layer.AnnotationTOC, layer.AnnotationPlainSize} { // in one order
		e.set(done.Annotations[k], "layers", i, "annotations", k)
	}
}
