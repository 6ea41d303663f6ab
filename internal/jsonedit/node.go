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

// add appends what find has not found, in the style of the last item; false if
// it cannot be there.
func (n *node) add(step any, raw []byte) bool {
	it := item{value: &node{raw: raw}, added: true}
	colon := []byte(":")
	var gap []byte
	if last := len(n.items) - 1; last >= 0 {
		l := n.items[last]
		gap = l.before[:l.gap]
		if n.is('{') {
			after := l.before[l.gap:]
			colon = after[1+bytes.LastIndexByte(after, '"'):]
		}
	}
	switch s := step.(type) {
	case string:
		if !n.is('{') {
			return false
		}
		key, err := encode(s)
		if err != nil {
			return false
		}
		it.key = s
		it.before = slices.Concat(gap, key, colon)
	case int:
		if !n.is('[') || s != len(n.items) {
			return false
		}
		it.before = slices.Clone(gap)
	default:
		return false
	}
	it.gap = len(gap)
	if len(n.items) == 0 {
		n.tail = nil // space between the brackets
	}
	n.items = append(n.items, it)
	return true
}

// move puts the last item, which was added, before another one.
func (n *node) move(last, to int) {
	if to == last {
		return
	}
	first := n.items[0].before[:n.items[0].gap]
	it := n.items[last]
	n.items = slices.Insert(n.items[:last], to, it)
	if to > 0 {
		return
	}
	gap := append([]byte(","), first...)
	if len(n.items) > 2 {
		gap = n.items[2].before[:n.items[2].gap]
	}
	n.items[0].place(first)
	n.items[1].place(gap)
}

// place puts space and comma before an item.
func (i *item) place(gap []byte) {
	i.before = slices.Concat(gap, i.before[i.gap:])
	i.gap = len(gap)
}

func (n *node) remove(i int) {
	if i == 0 && len(n.items) > 1 { // the next one comes after the bracket as this one did
		next := &n.items[1]
		gap := n.items[0].before[:n.items[0].gap]
		next.before = slices.Concat(gap, next.before[next.gap:])
		next.gap = len(gap)
	}
	n.items = slices.Delete(n.items, i, i+1)
	if len(n.items) == 0 {
		n.tail = nil
	}
}

// splice replaces elements. What was first gives the others its place after the
// bracket, and the comma comes with the space that it has elsewhere.
func (n *node) splice(from, to int, raws [][]byte) {
	if len(n.items) == 0 {
		n.tail = nil // space between the brackets
	}
	var first, next []byte
	if len(n.items) > 0 {
		first = n.items[0].before
		next = append([]byte(","), first...)
	}
	if len(n.items) > 1 {
		next = n.items[1].before
	}
	added := make([]item, len(raws))
	for i, raw := range raws {
		added[i] = item{before: next, gap: len(next), value: &node{raw: raw}, added: true}
	}
	n.items = slices.Concat(n.items[:from:from], added, n.items[to:])
	for i := range n.items {
		it := &n.items[i]
		switch comma := bytes.IndexByte(it.before, ',') >= 0; {
		case i == 0:
			it.before, it.gap = first, len(first)
		case !comma:
			it.before, it.gap = next, len(next)
		}
	}
	if len(n.items) == 0 {
		n.tail = nil
	}
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
	for k, i := range n.items {
		gap := i.before[:i.gap]
		if k > 0 && i.added && !bytes.Contains(gap, []byte(",")) {
			out.WriteByte(',')
		}
		out.Write(gap)
		out.Write(i.before[i.gap:])
		i.value.write(out)
	}
	out.Write(n.tail)
	out.Write(n.raw[end-1:])
}

const space = " \t\r\n"

// open finds the items of an object or array. The JSON is known to be valid.
func (n *node) open() {
	if n.opened {
		return
	}
	n.opened = true
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
