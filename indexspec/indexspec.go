// SPDX-License-Identifier: Apache-2.0

// Package indexspec reads descriptions of indexes: the YAML files of
// manifest-tool, and templates for the names of images.
package indexspec

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// MaxSize is the most bytes that a file may have.
const MaxSize = 1 << 20

// A Spec describes an index.
type Spec struct {
	Image       string            // where it goes
	Tags        []string          // more names there
	Annotations map[string]string // of the index
	Manifests   []Manifest        // what it lists
}

// A Manifest is an image that an index lists.
type Manifest struct {
	Image    string
	Platform *oci.Platform // nil: what the image's config says
}

// Parse reads a file. Errors are ErrInvalid and begin with its name and a line.
// What the file says that would not be done is an error: unknown and repeated
// keys, two spellings of a key that contradict each other, several documents.
// Anchors and aliases are not taken.
func Parse(name string, raw []byte) (*Spec, error) {
	if len(raw) > MaxSize {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: more than %d bytes", name, MaxSize)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p := &parser{name: name}
	s := &Spec{}
	p.spec(doc.Content[0], s)
	switch err := dec.Decode(&more); {
	case err == nil:
		p.fail(&more, "a second document")
	case err != io.EOF && p.err == nil:
		p.err = oci.Errorf(oci.ErrInvalid, "%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return s, p.err
}

// A parser reads nodes until the first error.
type parser struct {
	name string
	err  error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = oci.Errorf(oci.ErrInvalid, "%s:%d: %s", p.name, n.Line, fmt.Sprintf(format, args...))
	}
}

func (p *parser) spec(n *yaml.Node, s *Spec) {
	images := false
	p.object(n, func(key string, v *yaml.Node) bool {
		switch key {
		case "image":
			s.Image = p.text(v)
		case "tags":
			s.Tags = p.texts(v)
		case "annotations":
			s.Annotations = map[string]string{}
			p.object(v, func(key string, v *yaml.Node) bool { s.Annotations[key] = p.value(v); return true })
		case "manifests":
			images = true
			p.list(v, func(v *yaml.Node) { s.Manifests = append(s.Manifests, p.manifest(v)) })
		default:
			return false
		}
		return true
	})
	switch {
	case s.Image == "":
		p.fail(n, "no image: it says where the index goes")
	case !images, len(s.Manifests) == 0:
		p.fail(n, "no manifests: they say what the index lists")
	}
}

func (p *parser) manifest(n *yaml.Node) (m Manifest) {
	p.object(n, func(key string, v *yaml.Node) bool {
		switch key {
		case "image":
			m.Image = p.text(v)
		case "platform":
			m.Platform = p.platform(v)
		default:
			return false
		}
		return true
	})
	if m.Image == "" {
		p.fail(n, "a manifest without image")
	}
	return m
}

func (p *parser) platform(n *yaml.Node) *oci.Platform {
	var out oci.Platform
	var versions []string
	var features [][]string
	p.object(n, func(key string, v *yaml.Node) bool {
		switch key {
		case "os":
			out.OS = p.text(v)
		case "architecture":
			out.Architecture = p.text(v)
		case "variant":
			out.Variant = p.value(v)
		case "osversion", "os.version":
			if out.OSVersion = p.value(v); len(versions) > 0 && versions[0] != out.OSVersion {
				p.fail(v, "os.version is %q and %q", versions[0], out.OSVersion)
			}
			versions = append(versions, out.OSVersion)
		case "osfeatures", "os.features":
			out.OSFeatures = p.texts(v)
			if len(features) > 0 && strings.Join(features[0], "\x00") != strings.Join(out.OSFeatures, "\x00") {
				p.fail(v, "os.features is %q and %q", features[0], out.OSFeatures)
			}
			features = append(features, out.OSFeatures)
		default:
			return false
		}
		return true
	})
	if out.OS == "" && out.Architecture == "" && out.Variant == "" && out.OSVersion == "" && len(out.OSFeatures) == 0 {
		return nil
	}
	if _, err := oci.ParsePlatform(oneWord(out)); p.err == nil && err != nil {
		p.fail(n, "a platform needs os and architecture, and may have variant, os.version and os.features: %s", oci.Quote(oneWord(out)))
	}
	return &out
}

// oneWord writes a platform as oci.ParsePlatform reads it.
func oneWord(p oci.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	if p.OSVersion != "" {
		s += ":" + p.OSVersion
	}
	return s
}

// object calls f for each member; false means that there should be none of that
// name.
func (p *parser) object(n *yaml.Node, f func(key string, v *yaml.Node) bool) {
	if p.plain(n) && n.Kind != yaml.MappingNode && !null(n) {
		p.fail(n, "want keys with values")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode && p.err == nil; i += 2 {
		key := p.text(n.Content[i])
		if seen[key] {
			p.fail(n.Content[i], "the key %s is there twice", oci.Quote(key))
		}
		seen[key] = true
		if p.err == nil && !f(key, n.Content[i+1]) {
			p.fail(n.Content[i], "no such key here: %s", oci.Quote(key))
		}
	}
}

func (p *parser) list(n *yaml.Node, f func(*yaml.Node)) {
	if p.plain(n) && n.Kind != yaml.SequenceNode && !null(n) {
		p.fail(n, "want a list")
	}
	if len(n.Content) > oci.MaxFanOut {
		p.fail(n, "a list of more than %d", oci.MaxFanOut)
	}
	for _, v := range n.Content {
		if p.err != nil {
			return
		}
		f(v)
	}
}

func (p *parser) texts(n *yaml.Node) (out []string) {
	p.list(n, func(v *yaml.Node) { out = append(out, p.text(v)) })
	return out
}

// text is a string that is not empty.
func (p *parser) text(n *yaml.Node) string {
	s := p.value(n)
	if s == "" {
		p.fail(n, "want text")
	}
	return s
}

// value is a scalar as it is written: 1.10 is a version and no number.
func (p *parser) value(n *yaml.Node) string {
	if p.plain(n) && n.Kind != yaml.ScalarNode {
		p.fail(n, "want text")
	}
	if null(n) {
		return ""
	}
	return n.Value
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plain refuses what is not just what stands there.
func (p *parser) plain(n *yaml.Node) bool {
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.AliasNode, n.Anchor != "":
		p.fail(n, "anchors and aliases are not taken here")
	case n.Style&yaml.TaggedStyle != 0 && tag != "!!str", tag == "!!binary":
		p.fail(n, "the tag %s is not taken here", oci.Quote(tag))
	}
	return p.err == nil
}

// FromTemplate makes a spec of a name in which OS, ARCH and VARIANT stand for the
// parts of each platform, wherever and as often as they do. An empty variant
// leaves what is around it as it is. ErrInvalid if none of them is in the name
// and there are several platforms.
func FromTemplate(template string, platforms []oci.Platform) (*Spec, error) {
	s := &Spec{}
	for _, p := range platforms {
		name := strings.NewReplacer("OS", p.OS, "ARCH", p.Architecture, "VARIANT", p.Variant).Replace(template)
		if name == template && len(platforms) > 1 {
			return nil, oci.Errorf(oci.ErrInvalid, "template %s: want OS, ARCH or VARIANT in it, for the parts of the platforms", oci.Quote(template))
		}
		s.Manifests = append(s.Manifests, Manifest{Image: name, Platform: &p})
	}
	return s, nil
}
