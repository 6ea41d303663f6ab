// SPDX-License-Identifier: Apache-2.0

package kubeyaml

import (
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// Write writes files one after another as one stream with what stands for each
// reference in its place; one for which there is nothing stays. The stream is
// YAML, or JSON values if there is nothing else, as kubectl reads both. A file by
// itself keeps all other bytes; where documents of two files meet, or JSON values
// beside YAML, "---" is put between them. ErrInvalid if what stands for a
// reference is not one line of ASCII.
func Write(w io.Writer, files []*File, with map[string]string) error {
	var docs []*document
	for _, f := range files {
		docs = append(docs, f.docs...)
	}
	out := &writer{w: w, isJSON: !slices.ContainsFunc(docs, func(d *document) bool { return d.marked || d.hasValue && !d.json })}
	for _, d := range docs {
		text, err := d.replace(with)
		if err != nil {
			return err
		}
		if err := out.document(d, text); err != nil {
			return err
		}
	}
	return nil
}

// A writer knows what was written last.
type writer struct {
	w      io.Writer
	isJSON bool // there is nothing but JSON
	some   bool // there is something before
	value  bool // that is more than comments
	line   bool // the last line has an end
	ended  bool // the last document has "..."
}

func (o *writer) document(d *document, text []byte) error {
	between := ""
	if o.some {
		if d.bom { // which begins a stream
			text = text[len(bom):]
		}
		if !o.line && !(o.isJSON && d.follows) {
			between = "\n"
		}
	}
	switch {
	case d.directed && o.value && !o.ended:
		between += "...\n"
	case o.isJSON || d.marked || !d.hasValue || d.follows && o.ended:
	case o.value || d.json: // kubectl takes what begins with { for nothing but JSON
		between += "---\n"
	}
	if _, err := io.WriteString(o.w, between); err != nil {
		return err
	}
	_, err := o.w.Write(text)
	o.some = o.some || len(text) > 0
	o.value = o.value || d.hasValue || d.marked
	if len(text) > 0 {
		o.line, o.ended = endLen(text) > 0, d.ended
	}
	return err
}

// replace is the text of a document with references replaced.
func (d *document) replace(with map[string]string) ([]byte, error) {
	edits := slices.Clone(d.cuts)
	for _, p := range d.refs {
		value, ok := with[p.Text]
		if !ok {
			continue
		}
		text, err := p.quote(value)
		if err != nil {
			return nil, err
		}
		edits = append(edits, edit{p.start, p.end, text})
		if p.tail.end > 0 {
			edits = append(edits, p.tail)
		}
	}
	return apply(d.text, edits), nil
}

var plain = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._/@:+-]*[A-Za-z0-9])?$`)

// quote writes a value in the quotes that were there, or in those that it needs.
func (p *place) quote(value string) (string, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", oci.Errorf(oci.ErrInvalid, "%s cannot stand for %s: want one line of ASCII", oci.Quote(brief(value)), p.Text)
	}
	if p.style&yaml.SingleQuotedStyle != 0 {
		return "'" + strings.ReplaceAll(value, "'", "''") + "'", nil
	}
	if p.style&yaml.DoubleQuotedStyle == 0 && strings.ContainsAny(value, "/@") && plain.MatchString(value) { // else it could be a number
		return value, nil
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`, nil
}
