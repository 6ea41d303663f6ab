// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// nameForm is the form of the name of a build.
const nameForm = `^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`

var isName = regexp.MustCompile(nameForm).MatchString

// maxBuilds is the most builds that a file may have.
const maxBuilds = 1000

// A parser reads nodes until the first error.
type parser struct {
	name   string
	getenv func(string) string
	within string // the key that is read, as errors begin: "ports: "
	err    error
}

func (p *parser) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", p.name, n.Line, n.Column) }

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = oci.Errorf(oci.ErrInvalid, "%s: %s", p.at(n), fmt.Sprintf(format, args...))
	}
}

// want refuses what is not of a form, and says which key it is of.
func (p *parser) want(n *yaml.Node, form string) { p.fail(n, "%swant %s", p.within, form) }

// in reads what belongs to a key.
func (p *parser) in(key string, read func()) {
	outer := p.within
	p.within += key + ": "
	read()
	p.within = outer
}

// An item is a key with its value.
type item struct {
	key      *Key
	at, node *yaml.Node // of the key, and of the value
}

func (p *parser) file(n *yaml.Node) *File {
	f := &File{Name: p.name}
	var version, builds *yaml.Node
	var defaults []item
	p.object(n, []string{"version", "defaults", "builds"}, func(key string, at, v *yaml.Node) {
		switch key {
		case "version":
			version = v
		case "defaults":
			defaults = p.items(v, nil)
			for _, i := range defaults {
				if i.key.Own {
					p.fail(i.at, "%s is of one build, and no default", i.key.Name)
				}
			}
		case "builds":
			builds = v
		}
	})
	switch {
	case p.err != nil:
	case version == nil:
		p.fail(n, "no version: want version: 1")
	case !p.plain(version) || version.ShortTag() != "!!int" || version.Value != "1":
		p.fail(version, "version: want 1")
	case builds == nil:
		p.fail(n, "no builds: they say what is to be built")
	}
	p.in("builds", func() {
		p.list(builds, maxBuilds, func(v *yaml.Node) {
			b := p.build(v, defaults)
			if slices.ContainsFunc(f.Builds, func(old Build) bool { return old.Name == b.Name }) {
				p.fail(v, "there are two builds %s", oci.Quote(b.Name))
			}
			f.Builds = append(f.Builds, b)
		})
	})
	if p.err == nil && len(f.Builds) == 0 {
		p.fail(builds, "no builds: they say what is to be built")
	}
	return f
}

// items are the keys of a build or of the defaults, without those in others.
func (p *parser) items(n *yaml.Node, others map[string]**yaml.Node) (all []item) {
	names := []string{}
	for name := range others {
		names = append(names, name)
	}
	for _, k := range Keys {
		names = append(names, k.Name)
	}
	p.object(n, names, func(key string, at, v *yaml.Node) {
		if other := others[key]; other != nil {
			*other = v
			return
		}
		all = append(all, item{find(key), at, v})
	})
	return all
}

func (p *parser) build(n *yaml.Node, defaults []item) (b Build) {
	b.At = p.at(n)
	var name, kind *yaml.Node
	items := p.items(n, map[string]**yaml.Node{"name": &name, "kind": &kind})
	switch {
	case p.err != nil:
		return b
	case name == nil:
		p.fail(n, "a build without name")
	case kind == nil:
		p.fail(n, "a build without kind: want one of %s", strings.Join(Kinds, ", "))
	}
	outer := p.within
	p.within = "" // errors have the place of the build
	defer func() { p.within = outer }()
	p.in("name", func() { b.Name = p.text(name) })
	p.in("kind", func() { b.Kind = p.text(kind) })
	if p.err != nil {
		return b
	}
	switch {
	case !isName(b.Name):
		p.fail(name, "name %s: want letters, digits, and . _ - between them", oci.Quote(b.Name))
	case !slices.Contains(Kinds, b.Kind):
		p.fail(kind, "kind %s: want one of %s", oci.Quote(b.Kind), strings.Join(Kinds, ", "))
	}
	for _, d := range defaults {
		has := slices.ContainsFunc(items, func(i item) bool { return i.key == d.key })
		if d.key.of(b.Kind) && (d.key.Form == Pairs || !has) {
			p.set(&b, d)
		}
	}
	for _, i := range items {
		if !i.key.of(b.Kind) {
			p.fail(i.at, "%s is for builds of the kind %s, not %s", i.key.Name, strings.Join(i.key.Of, " or "), b.Kind)
		}
		p.set(&b, i)
	}
	if need := needs[b.Kind]; need != "" && len(b.Args) == 0 {
		p.fail(n, "a build of the kind %s needs %s", b.Kind, need)
	}
	if b.Kind == Dockerfile && len(b.Args) == 0 {
		b.Args = []string{p.path(".")}
	}
	return b
}

// needs are the keys that say what is built, of kinds that must have them.
var needs = map[string]string{Go: "main", Files: "files", Jar: "jar"}

// set adds what a key says to a build.
func (p *parser) set(b *Build, i item) {
	p.in(i.key.Name, func() { p.setValue(b, i) })
}

func (p *parser) setValue(b *Build, i item) {
	add := func(at *yaml.Node, value string) {
		if i.key.Flag == "" || i.key.Form == Places && b.Kind == Files {
			b.Args = append(b.Args, value)
		} else {
			b.Settings = append(b.Settings, Setting{i.key, value, p.at(at)})
		}
	}
	switch i.key.Form {
	case Text:
		add(i.node, p.value(i.key, i.node))
	case List:
		switch i.node.Kind {
		case yaml.SequenceNode:
		case yaml.MappingNode:
			p.want(i.node, "text, or a list of them")
			return
		default:
			add(i.node, p.value(i.key, i.node))
			return
		}
		p.some(i.node, func(v *yaml.Node) { add(v, p.value(i.key, v)) })
	case Words:
		add(i.node, p.words(i.node))
	case Object:
		add(i.node, p.json(i.node))
	case Pairs:
		p.object(i.node, nil, func(key string, at, v *yaml.Node) { add(at, p.pair(i.key, key, at, v)) })
	case Switch:
		if p.plain(i.node) && i.node.ShortTag() != "!!bool" {
			p.fail(i.node, "%s: want true or false", i.key.Name)
		}
		add(i.node, strings.ToLower(i.node.Value))
	case Places:
		p.some(i.node, func(v *yaml.Node) { add(v, p.place(i.key, v)) })
	}
}

// object calls f for each key. names are those that there can be; nil: any.
func (p *parser) object(n *yaml.Node, names []string, f func(key string, at, v *yaml.Node)) {
	if p.plain(n) && n.Kind != yaml.MappingNode {
		p.want(n, "keys with values")
	}
	if p.err == nil && len(n.Content) > 2*oci.MaxFanOut {
		p.fail(n, "more than %d keys", oci.MaxFanOut)
	}
	seen := map[string]bool{}
	for i := 0; p.err == nil && i+1 < len(n.Content); i += 2 {
		at, v := n.Content[i], n.Content[i+1]
		key := p.text(at)
		switch tag := at.ShortTag(); {
		case p.err != nil:
			return
		case tag != "!!str":
			p.fail(at, "%sthe key %s is no text in YAML: want it in quotes", p.within, oci.Quote(key))
		case seen[key]:
			p.fail(at, "the key %s is there twice", oci.Quote(key))
		case names != nil && !slices.Contains(names, key):
			p.fail(at, "no such key here: %s%s", oci.Quote(key), meant(key, names))
		default:
			p.in(key, func() { f(key, at, v) })
		}
		seen[key] = true
	}
}

func (p *parser) list(n *yaml.Node, most int, f func(*yaml.Node)) {
	if p.plain(n) && n.Kind != yaml.SequenceNode {
		p.want(n, "a list"+example(n))
	}
	if p.err == nil && len(n.Content) > most {
		p.fail(n, "a list of more than %d", most)
	}
	for i := 0; p.err == nil && i < len(n.Content); i++ {
		f(n.Content[i])
	}
}

var isPlainWords = regexp.MustCompile(`^[\w./ -]{1,60}$`).MatchString

// example is a list that a text could be meant to be.
func example(n *yaml.Node) string {
	if words := strings.Fields(n.Value); n.Kind == yaml.ScalarNode && len(words) > 0 && isPlainWords(n.Value) {
		return ", as [" + strings.Join(words, ", ") + "]"
	}
	return ""
}

// some is a list that is not empty.
func (p *parser) some(n *yaml.Node, f func(*yaml.Node)) {
	if p.list(n, oci.MaxFanOut, f); len(n.Content) == 0 {
		p.fail(n, "%san empty list", p.within)
	}
}

// value is a text that is not empty, with what its key does to it.
func (p *parser) value(k *Key, n *yaml.Node) string {
	s := p.text(n)
	if s = p.expand(k, n, s); s != "" && (k.Path || k.Pkg && s[0] == '.') {
		s = p.path(s)
	}
	if s == "" {
		p.want(n, "text")
	}
	return s
}

// path is a path as seen from where the command runs.
func (p *parser) path(s string) string {
	dir := filepath.ToSlash(filepath.Dir(p.name))
	if filepath.IsAbs(s) {
		return s
	}
	out := path.Join(dir, filepath.ToSlash(s))
	if !path.IsAbs(out) && !strings.HasPrefix(out, "../") && out != ".." && out != "." {
		out = "./" + out
	}
	return filepath.FromSlash(out)
}

// text is a text that is not empty.
func (p *parser) text(n *yaml.Node) string {
	s := p.scalar(n)
	if s == "" {
		p.want(n, "text")
	}
	return s
}

// infinite is a number that JSON, and so the schema, does not have.
var infinite = regexp.MustCompile(`(?i)^[-+]?\.(inf|nan)$`)

// scalar is a text as it is written: 1.10 is a version and no number.
func (p *parser) scalar(n *yaml.Node) string {
	if p.plain(n) && (n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null") {
		p.want(n, "text")
	}
	if p.err == nil && n.ShortTag() == "!!float" && infinite.MatchString(n.Value) {
		p.want(n, "text: "+n.Value+" is a number here, unless it is in quotes")
	}
	if p.err != nil {
		return ""
	}
	return n.Value
}

// plain refuses what is not just what stands there.
func (p *parser) plain(n *yaml.Node) bool {
	if p.err != nil {
		return false
	}
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.AliasNode, n.Anchor != "", tag == "!!merge":
		p.fail(n, "anchors and aliases are not taken here: defaults are for what builds have in common")
	case n.Style&yaml.TaggedStyle != 0 && tag != "!!str", tag == "!!binary":
		p.fail(n, "the tag %s is not taken here", oci.Quote(tag))
	}
	return p.err == nil
}

// meant suggests a name for one that there is not.
func meant(key string, names []string) string {
	if near := nearest(key, names); near != "" {
		return "; is it " + near + "?"
	}
	return ""
}

// nearest is the name most like another, "" if none is.
func nearest(key string, names []string) (near string) {
	if len(key) > 64 {
		return ""
	}
	best := 3
	for _, name := range slices.Sorted(slices.Values(names)) {
		if d := levenshtein.Distance(strings.ToLower(key), strings.ToLower(name), nil); d < best && d < len(name) {
			near, best = name, d
		}
	}
	return near
}
