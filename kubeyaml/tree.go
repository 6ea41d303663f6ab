// SPDX-License-Identifier: Apache-2.0

package kubeyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A tree is a document that was parsed, YAML or JSON.
type tree struct {
	root *yaml.Node // nil: nothing but comments
	line int        // of the file, that is above those of the nodes
	at   finder
	// ends, of JSON: where members of arrays end
	ends map[*yaml.Node]int
}

// A finder tells where nodes begin. They are asked for in the order of the
// document.
type finder interface {
	find(n *yaml.Node) (offset int)
}

var yamlError = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(did not find expected (?:<|node|'-'|key|','))?(.*)`)

func (f *File) parseYAML(d *document) (*tree, error) {
	text := bytes.TrimPrefix(d.text, []byte(bom))
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case err == io.EOF:
		return &tree{}, nil
	case err != nil:
		return nil, f.yamlError(d, err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, f.wrong(d.line+more.Line-1, "a second document without a separator")
	} else if err != io.EOF {
		return nil, f.yamlError(d, err)
	}
	return &tree{root: doc.Content[0], line: d.line - 1, at: &cursor{text: d.text, offset: len(d.text) - len(text), line: 1, column: 1}}, nil
}

// yamlError says where an error is in the file. The parser counts the lines of
// its own errors, as opposed to those of its scanner, from 0.
func (f *File) yamlError(d *document, err error) error {
	m := yamlError.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	line, _ := strconv.Atoi(m[1])
	if m[2] != "" {
		line++
	}
	return f.wrong(d.line+max(line, 1)-1, "%s", m[2]+m[3])
}

// A cursor goes through the lines and columns of a text. Columns count
// characters.
type cursor struct {
	text         []byte
	offset       int
	line, column int
}

func (c *cursor) find(n *yaml.Node) int {
	for c.offset < len(c.text) && (c.line < n.Line || c.line == n.Line && c.column < n.Column) {
		if l := breakLen(c.text[c.offset:]); l > 0 {
			c.offset, c.line, c.column = c.offset+l, c.line+1, 1
			continue
		}
		_, l := utf8.DecodeRune(c.text[c.offset:])
		c.offset, c.column = c.offset+l, c.column+1
	}
	return c.offset
}

// offsets are of JSON: known beforehand.
type offsets map[*yaml.Node]int

func (o offsets) find(n *yaml.Node) int { return o[n] }

// parseJSON parses a document that is nothing but JSON objects.
func parseJSON(d *document) (list []*tree, ok bool) {
	text, line := bytes.TrimPrefix(d.text, []byte(bom)), d.line
	if d.marked {
		first := text[:lineLen(text)]
		if strings.TrimSpace(string(first)) != "---" {
			return nil, false
		}
		text = text[len(first):]
		line++
	}
	if rest := bytes.TrimLeft(text, jsonSpace); len(rest) == 0 || rest[0] != '{' {
		return nil, false
	}
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(text)), text: text, base: len(d.text) - len(text), line: line}
	r.dec.UseNumber()
	for len(bytes.TrimLeft(text[r.dec.InputOffset():], jsonSpace)) > 0 {
		r.at, r.ends = offsets{}, map[*yaml.Node]int{}
		root, err := r.value(0)
		if err != nil || root.Kind != yaml.MappingNode {
			return nil, false // it may be YAML
		}
		r.ends[root] = r.offset()
		list = append(list, &tree{root: root, at: r.at, ends: r.ends})
	}
	return list, true
}

// A jsonReader makes nodes of JSON.
type jsonReader struct {
	dec  *json.Decoder
	text []byte
	base int // where the text begins in its document
	at   offsets
	ends map[*yaml.Node]int
	line int // of what is at the offset seen
	seen int
}

var errDeep = errors.New("too deep")

const (
	maxDepth  = 1000
	jsonSpace = " \t\r\n"
)

func (r *jsonReader) offset() int { return r.base + int(r.dec.InputOffset()) }

// value reads a value with all below it.
func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	start := int(r.dec.InputOffset())
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	start += len(r.text[start:]) - len(bytes.TrimLeft(r.text[start:], jsonSpace+",:"))
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.lineAt(start)}
	switch t := t.(type) {
	case string:
		n.Value, n.Tag, n.Style = t, "!!str", yaml.DoubleQuotedStyle
		r.at[n] = r.base + start
	case json.Delim:
		n.Kind, n.Style = yaml.MappingNode, yaml.FlowStyle
		if t == '[' {
			n.Kind = yaml.SequenceNode
		}
		r.at[n] = r.base + start
		return n, r.members(n, depth)
	case json.Number:
		n.Value = string(t)
	case bool:
		n.Value = strconv.FormatBool(t)
	default:
		n.Value = "null"
	}
	return n, nil
}

func (r *jsonReader) members(n *yaml.Node, depth int) error {
	for r.dec.More() {
		c, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		if n.Kind == yaml.SequenceNode && c.Kind == yaml.MappingNode {
			r.ends[c] = r.offset()
		}
		n.Content = append(n.Content, c)
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonReader) lineAt(offset int) int {
	r.line += bytes.Count(r.text[r.seen:offset], []byte("\n"))
	r.seen = offset
	return r.line
}

// cut makes a document of each of several JSON values.
func (d *document) cut(trees []*tree) (list []*document) {
	start := 0
	for n, t := range trees {
		end := len(d.text)
		if n < len(trees)-1 {
			end = trees[n+1].at.find(trees[n+1].root)
		}
		c := &document{text: d.text[start:end], line: t.root.Line, json: true, follows: true}
		if n == 0 {
			c.marked, c.follows, c.bom = d.marked, d.follows, d.bom
		}
		t.shift(-start)
		list, start = append(list, c), end
	}
	return list
}

func (t *tree) shift(by int) {
	for n := range t.ends {
		t.ends[n] += by
	}
	t.at.(offsets).shift(by)
}

func (o offsets) shift(by int) {
	for n := range o {
		o[n] += by
	}
}
