// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// A base is an image or index that layers are put on.
type base struct {
	ref  ref.Ref // zero of scratch
	node edit.Node
}

// bases reads all bases, each of which must have an image that is wanted.
func (a *appending) bases(ctx context.Context) ([]base, error) {
	if a.o.Bases[0] == Scratch {
		return a.scratch()
	}
	all := make([]base, len(a.o.Bases))
	sources := make([]oci.Source, len(all))
	for i, name := range a.o.Bases {
		r, err := ref.Parse(name)
		if err == nil && a.o.BaseLayers == ForeignBase && r.Scheme != ref.Registry {
			err = oci.Errorf(oci.ErrInvalid, "base layers %s: %s is in no registry, so that its layers have no URL", ForeignBase, oci.Quote(name))
		}
		if err != nil {
			return nil, err
		}
		all[i].ref = r
		if sources[i], err = a.c.source(a.at, r, a.targets[0], CopyOptions{From: a.o.From}); err != nil {
			return nil, err
		}
	}
	err := oci.Parallel(ctx, len(all), func(ctx context.Context, i int) (err error) {
		all[i].node, err = a.load(ctx, sources[i], all[i].ref)
		return oci.Wrap("base", all[i].ref.String(), err)
	})
	return all, err
}

// load reads those images of a base that are wanted.
func (a *appending) load(ctx context.Context, s oci.Source, r ref.Ref) (edit.Node, error) {
	m, err := oci.Get(ctx, s, r.Target())
	if err != nil {
		return nil, err
	}
	var o edit.Options
	want := a.o.Platforms
	if len(want) > 0 {
		o.Only = true
		o.Choose = func(d oci.Descriptor) bool { return d.Platform != nil && matchesAny(want, *d.Platform) }
	}
	n, err := edit.Load(ctx, s, read(m), o)
	if err != nil {
		return nil, err
	}
	images := edit.Images(n)
	if len(images) == 0 && m.IsIndex() && len(want) > 0 {
		return nil, oci.Errorf(oci.ErrNotFound, "index has no %s; it has %s", formatAll(want), platforms(m))
	}
	if len(images) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "an index without images")
	}
	for _, i := range images {
		switch {
		case i.IsArtifact():
			return nil, oci.Errorf(oci.ErrInvalid, "an artifact, not an image: a layer cannot be put on it")
		case !m.IsIndex() && len(want) > 0 && !matchesAny(want, i.Platform()):
			return nil, oci.Errorf(oci.ErrNotFound, "image is for %s, not for %s", oci.FormatPlatform(i.Platform()), formatAll(want))
		}
	}
	return n, nil
}

func formatAll(list []oci.Platform) string {
	var names []string
	for _, p := range list {
		names = append(names, oci.FormatPlatform(p))
	}
	return strings.Join(names, ", ")
}

// scratch makes an image without layers for each platform.
func (a *appending) scratch() (all []base, err error) {
	for _, p := range a.o.Platforms {
		i, err := edit.New(p, a.o.MediaTypes == "docker")
		if err != nil {
			return nil, err
		}
		all = append(all, base{node: i})
	}
	return all, nil
}

// join makes one thing of the bases: the only one, or an index of all images.
// Every platform that was asked for must be there.
func (a *appending) join(bases []base) (edit.Node, error) {
	for _, p := range a.o.Platforms {
		found := false
		for _, b := range bases {
			found = found || foundAll(b.node, []oci.Platform{p}) == nil
		}
		if !found {
			return nil, oci.Errorf(oci.ErrNotFound, "no base has an image for %s", oci.FormatPlatform(p))
		}
	}
	if len(bases) == 1 {
		return bases[0].node, nil
	}
	return a.union(bases)
}

// union is an index of all images of the bases, none for the same platform.
func (a *appending) union(bases []base) (edit.Node, error) {
	docker := true
	from := map[string]string{} // the base of each platform
	var twice []string
	for _, b := range bases {
		for _, i := range edit.Images(b.node) {
			docker = docker && i.IsDocker()
			p := oci.NormalizePlatform(i.Platform())
			key := oci.FormatPlatform(p) + strings.Join(p.OSFeatures, ",")
			if old, ok := from[key]; ok {
				twice = append(twice, oci.FormatPlatform(p)+" ("+old+" and "+b.ref.String()+")")
			}
			from[key] = b.ref.String()
		}
	}
	if len(twice) > 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "several bases are for the same platform: %s", strings.Join(twice, ", "))
	}
	x, err := edit.NewIndex(docker)
	if err != nil {
		return nil, err
	}
	for _, b := range bases {
		if err := addImages(x, b.node, oci.Descriptor{}); err != nil {
			return nil, err
		}
		if n := others(b.node); n > 0 {
			a.note(fmt.Sprintf("base %s: left out what is no image, such as attestations: %d of its entries", b.ref, n))
		}
	}
	return x, nil
}

// addImages adds the images of a node to an index. was is the entry that the
// node has in an index; its platform is made complete by what the image says.
func addImages(x *edit.Index, n edit.Node, was oci.Descriptor) error {
	switch n := n.(type) {
	case *edit.Image:
		p := n.Platform()
		if old := was.Platform; old != nil {
			p.OS, p.Architecture, p.Variant = cmp.Or(old.OS, p.OS), cmp.Or(old.Architecture, p.Architecture), cmp.Or(old.Variant, p.Variant)
		}
		return x.Add(n, oci.Descriptor{Platform: &p, Annotations: was.Annotations})
	case *edit.Index:
		for _, e := range n.Entries() {
			if err := addImages(x, e.Node, e.Descriptor()); err != nil {
				return err
			}
		}
	}
	return nil
}

// others counts what is not edited below a node.
func others(n edit.Node) (count int) {
	switch n := n.(type) {
	case *edit.Other:
		return 1
	case *edit.Index:
		for _, e := range n.Entries() {
			count += others(e.Node)
		}
	}
	return count
}

// annotate says in an image which base it has, and in the index of a base as well.
func (b base) annotate() error {
	if b.ref == (ref.Ref{}) {
		return nil
	}
	name := ""
	if b.ref.Scheme == ref.Registry && b.ref.Name != "" {
		name = b.ref.WithTag(b.ref.Name).String()
	}
	if x, ok := b.node.(*edit.Index); ok {
		if err := edit.SetBase(x, name, x.Was().Digest); err != nil {
			return err
		}
	}
	for _, i := range edit.Images(b.node) {
		if err := edit.SetBase(i, name, i.Was().Digest); err != nil {
			return err
		}
	}
	return nil
}

// refer makes foreign layers of those that a base has, if a target is at
// another registry.
func (a *appending) refer(b base) error {
	away := false
	for _, t := range a.targets {
		away = away || t.Scheme != ref.Registry || t.Host != b.ref.Host
	}
	if !away {
		return nil // they are mounted
	}
	host, scheme := b.ref.Host, "https"
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	if a.o.From.PlainHTTP || isLoopback(host) {
		scheme = "http"
	}
	for _, i := range edit.Images(b.node) {
		for n, l := range i.Layers() {
			url := scheme + "://" + host + "/v2/" + b.ref.Repository + "/blobs/" + string(l.Descriptor.Digest)
			if err := i.Refer(n, url); err != nil {
				return oci.Wrap("base", b.ref.String(), err)
			}
		}
	}
	return nil
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
