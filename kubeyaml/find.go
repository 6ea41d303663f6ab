// SPDX-License-Identifier: Apache-2.0

package kubeyaml

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// A place is where a reference is written.
type place struct {
	Ref
	start, end int // with its quotes
	style      yaml.Style
	tail       edit // of a block scalar: what goes beside its header
}

// find finds the references of a document.
func (f *File) find(d *document, t *tree, schemes []string) error {
	w := &walker{f: f, d: d, t: t, schemes: schemes}
	return w.walk(t.root, false)
}

// A walker goes through a tree in the order of the text. Aliases are not
// followed: what they mean is replaced where it stands.
type walker struct {
	f       *File
	d       *document
	t       *tree
	schemes []string
}

func (w *walker) walk(n *yaml.Node, key bool) error {
	if n.Kind == yaml.ScalarNode {
		return w.scalar(n, key)
	}
	for i, c := range n.Content {
		if err := w.walk(c, key || n.Kind == yaml.MappingNode && i%2 == 0); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) scalar(n *yaml.Node, key bool) error {
	line := w.t.line + n.Line
	scheme := ""
	for _, s := range w.schemes {
		if mentions(n.Value, s) {
			scheme = s
		}
	}
	text := strings.TrimSpace(n.Value)
	switch {
	case scheme == "":
		return nil
	case key:
		w.f.note(line, "%s is a key: it stays as it is", oci.Quote(brief(text)))
		return nil
	case !w.begins(n.Value):
		w.f.note(line, "%s… stands within a longer text: it stays as it is", scheme)
		return nil
	case strings.ContainsFunc(text, isSpace):
		return w.f.wrong(line, "%s: a reference has no white space in it", oci.Quote(brief(text)))
	case text == scheme:
		return w.f.wrong(line, "%s names nothing", text)
	}
	p := place{Ref: Ref{Text: text, Line: line}, style: n.Style}
	if !p.locate(w.d.text, w.t.at.find(n)) {
		return w.f.wrong(line, "%s is written in a way that is not understood: write it plainly", oci.Quote(brief(text)))
	}
	w.d.refs = append(w.d.refs, p)
	return nil
}

func (w *walker) begins(text string) bool {
	for _, s := range w.schemes {
		if strings.HasPrefix(text, s) {
			return true
		}
	}
	return false
}

// mentions reports whether a text has a scheme in it that is not the end of
// another one, as ko:// is of gecko://.
func mentions(text, scheme string) bool {
	for at := 0; ; at++ {
		n := strings.Index(text[at:], scheme)
		if n < 0 {
			return false
		}
		if at += n; at == 0 || !ofScheme(text[at-1]) {
			return true
		}
	}
}

// ofScheme reports whether a byte can be in a scheme (RFC 3986, 3.1).
func ofScheme(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+-.", c) >= 0
}

func isSpace(r rune) bool {
	return r <= ' ' || strings.ContainsRune("\u0085\u00a0\u2028\u2029\ufeff", r)
}

func brief(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// locate finds where the text of a scalar is, whose anchor, tag or text begins
// at start. False: not found.
func (p *place) locate(text []byte, start int) bool {
	p.start = skipProperties(text, start)
	rest := text[p.start:]
	switch {
	case p.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return !beginsLine(text, start) && !beginsLine(text, p.start) && p.block(text) // there, blocks may be less indented than other scalars
	case p.style&yaml.DoubleQuotedStyle != 0:
		p.end = p.start + quotedLen(rest, '"')
	case p.style&yaml.SingleQuotedStyle != 0:
		p.end = p.start + quotedLen(rest, '\'')
	case bytes.HasPrefix(rest, []byte(p.Text)):
		p.end = p.start + len(p.Text)
	}
	return p.end > p.start
}

// skipProperties goes over an anchor and a tag, and what stands between them
// and the text (YAML 1.2, 6.9).
func skipProperties(text []byte, at int) int {
	for {
		for at < len(text) && (text[at] == '&' || text[at] == '!') {
			for at < len(text) && text[at] != ' ' && text[at] != '\t' && breakLen(text[at:]) == 0 {
				at++
			}
		}
		switch l := 0; {
		case at >= len(text):
			return at
		case text[at] == ' ' || text[at] == '\t':
			at++
		case text[at] == '#':
			at += bytes.IndexFunc(append(text[at:len(text):len(text)], '\n'), func(r rune) bool { return strings.ContainsRune("\n\r\u0085\u2028\u2029", r) })
		default:
			if l = breakLen(text[at:]); l == 0 {
				return at
			}
			at += l
		}
	}
}

// beginsLine reports whether nothing but white space is before a place in its line.
func beginsLine(text []byte, at int) bool {
	before := bytes.TrimRight(text[:at], " \t")
	return len(before) == 0 || endLen(before) > 0
}

// quotedLen is the length of the quoted scalar that a text begins with; 0 if
// there is none.
func quotedLen(text []byte, quote byte) int {
	if len(text) == 0 || text[0] != quote {
		return 0
	}
	for n := 1; n < len(text); n++ {
		switch {
		case text[n] == '\\' && quote == '"':
			n++
		case text[n] != quote:
		case quote == '\'' && n+1 < len(text) && text[n+1] == quote:
			n++
		default:
			return n + 1
		}
	}
	return 0
}

// block finds a block scalar of one line. The reference will stand where the
// header is; the line goes.
func (p *place) block(text []byte) bool {
	at := p.start
	for at < len(text) && strings.IndexByte("|>+-0123456789", text[at]) >= 0 {
		at++
	}
	p.end = at
	header := text[at : at+lineLen(text[at:])]
	if len(header) > endLen(header) && header[0] != ' ' && header[0] != '\t' {
		return false
	}
	from := at + len(header) - endLen(header)
	at += len(header)
	line := text[at : at+lineLen(text[at:])]
	p.tail = edit{from, at + len(line) - endLen(line), ""}
	for at += len(line); at < len(text); at += len(line) { // white space at an end would not be right after a plain scalar
		line = text[at : at+lineLen(text[at:])]
		if len(bytes.Trim(line, " \t")) > endLen(line) {
			break
		}
		if len(line) > endLen(line) {
			p.tail.end = at + len(line) - endLen(line)
		}
	}
	return p.end > p.start && bytes.Contains(text[from:p.tail.end], []byte(p.Text))
}

// endLen is the length of the line break that a line ends with.
func endLen(line []byte) int {
	for n := max(0, len(line)-3); n < len(line); n++ {
		if breakLen(line[n:]) == len(line)-n {
			return len(line) - n
		}
	}
	return 0
}
