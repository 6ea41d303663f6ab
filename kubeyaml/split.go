// SPDX-License-Identifier: Apache-2.0

package kubeyaml

import (
	"bytes"
	"cmp"
	"slices"
)

// A document is a part of a stream, with what separates it from the one before.
type document struct {
	text     []byte
	line     int  // of the file, where it begins
	marked   bool // it begins with "---"
	directed bool // it has directives, as %YAML
	ended    bool // it ends with "..."
	follows  bool // it is separated from the one before it in the file by that one's end
	json     bool
	bom      bool // it begins with a byte order mark, and the file with it
	hasValue bool // it is more than comments

	refs []place
	cuts []edit // what goes for other reasons
}

// An edit replaces bytes of a document.
type edit struct {
	start, end int
	text       string
}

const bom = "\ufeff"

// split cuts a stream into documents (YAML 1.2, 9.2): together they are all its
// bytes. Comments and directives before a "---" belong to what it begins.
func split(data []byte) (list []*document) {
	start, line := 0, 1
	d := &document{line: 1, bom: bytes.HasPrefix(data, []byte(bom))}
	fresh := true // nothing but comments and directives so far
	end := func(at int) {
		if d.text = data[start:at]; at > start {
			list = append(list, d)
		}
		d, start, fresh = &document{line: line, follows: d.ended}, at, true
	}
	for at := 0; at < len(data); line++ {
		next := at + lineLen(data[at:])
		text := data[at:next]
		if at == 0 {
			text = bytes.TrimPrefix(text, []byte(bom))
		}
		switch {
		case isMarker(text, "---"):
			if !fresh {
				end(at)
			}
			d.marked, fresh = true, false
		case isMarker(text, "..."):
			d.ended = true
			line++
			end(next)
			line--
		case fresh && bytes.HasPrefix(text, []byte("%")):
			d.directed = true
		case fresh && !isComment(text):
			fresh = false
		}
		at = next
	}
	end(len(data))
	return list
}

// isMarker reports whether a line begins with a separator of documents.
func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || breakLen(rest) > 0)
}

// isComment reports whether a line is empty or a comment.
func isComment(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) == 0 || line[0] == '#' || breakLen(line) > 0
}

// lineLen is the length of the first line, with its end.
func lineLen(text []byte) int {
	for n := range text {
		if l := breakLen(text[n:]); l > 0 {
			return n + l
		}
	}
	return len(text)
}

// breakLen is the length of the line break that a text begins with, 0 if it
// begins with none: those of YAML 1.1, as the parser has them.
func breakLen(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case '\n':
		return 1
	case '\r':
		if len(text) > 1 && text[1] == '\n' {
			return 2
		}
		return 1
	case 0xc2, 0xe2:
		for _, b := range []string{"\u0085", "\u2028", "\u2029"} {
			if bytes.HasPrefix(text, []byte(b)) {
				return len(b)
			}
		}
	}
	return 0
}

// apply makes edits, which do not overlap.
func apply(text []byte, edits []edit) []byte {
	edits = slices.SortedFunc(slices.Values(edits), func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, text[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, text[at:]...)
}
