// SPDX-License-Identifier: Apache-2.0

package jsonedit

import (
	"bytes"
	"encoding/json"
	"slices"
)

// find returns the index of a member or element, -1 if it is not there.
func (n *node) find(step any) int {
	n.open()
	switch s := step.(type) {
	case string:
		if n.is('{') {
			return slices.IndexFunc(n.items, func(i item) bool { return i.key == s })
		}
	case int:
		if n.is('[') && s >= 0 && s < len(n.items) {
			return s
		}
	}
	return -1
}

func (n *node) is(bracket byte) bool {
	b := bytes.TrimLeft(n.raw, space)
	return len(b) > 0 && b[0] == bracket
}

// add appends what find has not found; false if it cannot be there.
func (n *node) add(step any, raw []byte) bool {
	it := item{value: &node{raw: raw}}
	switch s := step.(type) {
	case string:
		key, err := encode(s)
		if !n.is('{') || err != nil {
			return false
		}
		it.key, it.before = s, slices.Concat(key, n.colon())
	case int:
		if !n.is('[') || s != len(n.items) {
			return false
		}
	default:
		return false
	}
	n.put(len(n.items), len(n.items), it)
	return true
}

// colon is what the last member has between its key and its value.
func (n *node) colon() []byte {
	if len(n.items) == 0 {
		return []byte(":")
	}
	last := n.items[len(n.items)-1]
	after := last.before[last.gap:]
	return after[1+bytes.LastIndexByte(after, '"'):]
}

// put replaces the items from up to to: all changes of items are made here, so
// that the first has no comma before it, and each of the others one. What is
// new gets the space of the last item; what stays keeps its own, unless it
// becomes the first, or was.
func (n *node) put(from, to int, items ...item) {
	first, next := []byte(nil), []byte(",")
	switch had := len(n.items); had {
	case 0:
		n.tail = nil
	case 1:
		first = n.items[0].space()
		next = append([]byte(","), first...)
	default:
		first, next = n.items[0].space(), n.items[had-1].space()
	}
	for k := range items {
		items[k].place(next)
	}
	if from == 0 && to == 0 && len(n.items) > 0 {
		n.items[0].place(next)
	}
	n.items = slices.Replace(n.items, from, to, items...)
	if len(n.items) == 0 {
		n.tail = n.empty
	} else if from == 0 {
		n.items[0].place(first)
	}
}

// space is the space and comma before an item.
func (i *item) space() []byte { return i.before[:i.gap] }

// place gives an item other space and comma before it.
func (i *item) place(gap []byte) {
	i.before = slices.Concat(gap, i.before[i.gap:])
	i.gap = len(gap)
}

// move puts the last item before another one.
func (n *node) move(to int) {
	last := len(n.items) - 1
	it := n.items[last]
	n.put(last, last+1)
	n.put(to, to, it)
}

// write writes the value with its changes.
func (n *node) write(out *bytes.Buffer) {
	if !n.changed {
		out.Write(n.raw)
		return
	}
	start := len(n.raw) - len(bytes.TrimLeft(n.raw, space))
	end := len(bytes.TrimRight(n.raw, space))
	out.Write(n.raw[:start+1])
	for _, i := range n.items {
		out.Write(i.before)
		i.value.write(out)
	}
	out.Write(n.tail)
	out.Write(n.raw[end-1:])
}

// text is the value as write writes it, without space around it.
func (n *node) text() []byte {
	if !n.changed {
		return bytes.Trim(n.raw, space)
	}
	var out bytes.Buffer
	n.write(&out)
	return bytes.Trim(out.Bytes(), space)
}

const space = " \t\r\n"

// open finds the items of an object or array, once.
func (n *node) open() { n.opened.Do(n.split) }

// split is open. The JSON is known to be valid.
func (n *node) split() {
	if !n.is('{') && !n.is('[') {
		return
	}
	object := n.is('{')
	at := bytes.IndexAny(n.raw, "{[") + 1
	for {
		from := at
		at = skipSpace(n.raw, at)
		if n.raw[at] == ',' {
			at = skipSpace(n.raw, at+1)
		}
		if n.raw[at] == '}' || n.raw[at] == ']' {
			n.tail = n.raw[from:at]
			if len(n.items) == 0 {
				n.empty = n.tail
			}
			return
		}
		it := item{gap: at - from}
		if object {
			end := skipValue(n.raw, at)
			_ = json.Unmarshal(n.raw[at:end], &it.key) // a valid string
			at = skipSpace(n.raw, skipSpace(n.raw, end)+1)
		}
		it.before = n.raw[from:at:at]
		end := skipValue(n.raw, at)
		it.value = &node{raw: n.raw[at:end:end]}
		n.items = append(n.items, it)
		at = end
	}
}

func skipSpace(raw []byte, at int) int {
	for at < len(raw) && bytes.IndexByte([]byte(space), raw[at]) >= 0 {
		at++
	}
	return at
}

// skipValue returns where the value that begins at at ends.
func skipValue(raw []byte, at int) int {
	for depth := 0; at < len(raw); {
		switch raw[at] {
		case '"':
			for at++; raw[at] != '"'; at++ {
				if raw[at] == '\\' {
					at++
				}
			}
			at++
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\t', '\r', '\n':
			at++
			continue
		default: // a number or a word
			for at < len(raw) && bytes.IndexByte([]byte(",:]} \t\r\n"), raw[at]) < 0 {
				at++
			}
		}
		if depth == 0 {
			break
		}
	}
	return at
}
