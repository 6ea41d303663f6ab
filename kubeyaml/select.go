// SPDX-License-Identifier: Apache-2.0

package kubeyaml

import (
	"bytes"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// An object is what selection has to know of one.
type object struct {
	Kind     string
	Metadata struct{ Labels map[string]string }
	Items    yaml.Node
}

// selects reports whether a document stays, and cuts items out of a List.
func (f *File) selects(d *document, t *tree, match func(map[string]string) bool) (bool, error) {
	if t.root.Kind == yaml.ScalarNode && t.root.ShortTag() == "!!null" {
		return false, nil
	}
	o, err := f.object(t, t.root)
	if err != nil {
		return false, err
	}
	items := &o.Items
	for items.Kind == yaml.AliasNode {
		items = items.Alias
	}
	if !strings.HasSuffix(o.Kind, "List") || items.Kind != yaml.SequenceNode {
		return match(o.Metadata.Labels), nil
	}
	var stays []bool
	for _, n := range items.Content {
		o, err := f.object(t, n)
		if err != nil {
			return false, err
		}
		stays = append(stays, match(o.Metadata.Labels))
	}
	switch {
	case !slices.Contains(stays, true):
		return false, nil
	case !slices.Contains(stays, false):
		return true, nil
	case t.ends != nil:
		return true, d.cutJSON(t, items.Content, stays)
	case items.Style&yaml.FlowStyle != 0 || items != &o.Items:
		return false, oci.Errorf(oci.ErrUnsupported, "%s:%d: the selector takes only some items of this list: write it with a line for each (- apiVersion: …)", f.Name, t.line+items.Line)
	}
	return true, f.cutYAML(d, t, items.Content, stays)
}

func (f *File) object(t *tree, n *yaml.Node) (o object, err error) {
	if err := n.Decode(&o); err != nil {
		return o, f.wrong(t.line+n.Line, "it is no object of Kubernetes: %s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", ""))
	}
	return o, nil
}

// cutJSON cuts items, each with the comma before it, or behind it at the front.
func (d *document) cutJSON(t *tree, items []*yaml.Node, stays []bool) error {
	first := slices.Index(stays, true)
	for n, i := range items {
		switch {
		case n < first:
			d.take(edit{t.at.find(i), t.at.find(items[n+1]), ""})
		case !stays[n]:
			d.take(edit{t.ends[items[n-1]], t.ends[i], ""})
		}
	}
	return nil
}

// cutYAML cuts items of a block sequence, from the line with an item's dash to
// that of the next.
func (f *File) cutYAML(d *document, t *tree, items []*yaml.Node, stays []bool) error {
	lines, starts := []int{}, []int{0}
	for at := 0; at < len(d.text); at = starts[len(starts)-1] {
		starts = append(starts, at+lineLen(d.text[at:]))
	}
	for _, n := range items {
		line := n.Line - 1
		for line > 0 && !isDash(d.text[starts[line]:starts[line+1]]) {
			line--
		}
		lines = append(lines, line)
	}
	lines = append(lines, f.endOfItems(d, t, items[len(items)-1], starts))
	for n := range items {
		if !stays[n] {
			d.take(edit{starts[lines[n]], starts[lines[n+1]], ""})
		}
	}
	if _, err := f.parseYAML(&document{text: apply(d.text, d.cuts), line: d.line}); err != nil { // as for an anchor that went with an item
		return oci.Errorf(oci.ErrUnsupported, "%s:%d: the selector takes only some items of this list, and others need what it leaves out", f.Name, t.line+items[0].Line)
	}
	return nil
}

// endOfItems is the line after the last item: that of the next key of the List,
// or the end of the document.
func (f *File) endOfItems(d *document, t *tree, last *yaml.Node, starts []int) int {
	for n := 0; n < len(t.root.Content); n += 2 {
		if key := t.root.Content[n]; key.Line > last.Line {
			return key.Line - 1
		}
	}
	end := len(starts) - 1
	if d.ended {
		end--
	}
	return end
}

// isDash reports whether a line begins an item.
func isDash(line []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(line, " "), []byte("-"))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || breakLen(rest) > 0)
}

// take cuts bytes, with the references in them.
func (d *document) take(e edit) {
	d.cuts = append(d.cuts, e)
	d.refs = slices.DeleteFunc(d.refs, func(p place) bool { return e.start <= p.start && p.start < e.end })
}
