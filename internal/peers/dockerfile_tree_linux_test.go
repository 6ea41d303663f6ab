// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A node is a file of an image as these tests compare it.
type node struct {
	kind  byte // d, f, l, c, b, p
	mode  int64
	owner string // as 0:0
	size  int64
	sum   string
	text  string // the content, if it is small and can be shown
	to    string // of a link; the numbers of a device
	attrs map[string]string
	same  string // the first of its other names
	time  time.Time
	layer int // that it comes from
}

// A tree is all files of an image by their paths, which begin with a slash.
type tree map[string]*node

// aspects are what is compared of a node, by what messages call it.
func (n *node) aspects() map[string]string {
	out := map[string]string{"kind": string(n.kind), "owner": n.owner, "to": n.to, "same": n.same, "xattr": n.xattr()}
	if n.kind != 'l' { // the mode of a link means nothing
		out["mode"] = fmt.Sprintf("%04o", n.mode)
	}
	if n.kind == 'f' {
		out["content"] = n.content()
	}
	return out
}

func (n *node) content() string {
	if n.text != "" || n.size == 0 {
		return strconv.Quote(n.text)
	}
	return fmt.Sprintf("%d sha256:%.12s", n.size, n.sum)
}

func (n *node) xattr() (out string) {
	for _, k := range slices.Sorted(maps.Keys(n.attrs)) {
		out += fmt.Sprintf(" %s=%q", k, n.attrs[k])
	}
	return strings.TrimSpace(out)
}

// String is the node as one line of a list, without its path.
func (n *node) String() string {
	words := []string{string(n.kind)}
	if n.kind != 'l' {
		words = append(words, fmt.Sprintf("%04o", n.mode))
	}
	words = append(words, n.owner)
	switch n.kind {
	case 'f':
		words = append(words, n.content())
	case 'l':
		words = append(words, "->", n.to)
	case 'c', 'b':
		words = append(words, n.to)
	}
	if n.same != "" {
		words = append(words, "=", n.same)
	}
	if x := n.xattr(); x != "" {
		words = append(words, x)
	}
	return strings.Join(words, " ")
}

// changes lists what is not as in the tree below, one line each.
func (t tree) changes(below tree) string {
	var lines []string
	for p, n := range t {
		if b := below[p]; b == nil || b.String() != n.String() {
			lines = append(lines, p+" "+n.String())
		}
	}
	for p := range below {
		if t[p] == nil {
			lines = append(lines, p+" -")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// remove takes a file away, with all below it that is not of a layer.
func (t tree) remove(name string, except int) {
	for p, n := range t {
		if (p == name || strings.HasPrefix(p, strings.TrimSuffix(name, "/")+"/")) && n.layer != except {
			delete(t, p)
		}
	}
}

// apply puts a layer on a tree, as an engine does (image-spec, layer.md). What
// an engine would do silently, and no image should ask for, is an error.
func (t tree) apply(number int, r io.Reader) error {
	tr := tar.NewReader(r)
	seen := map[string]bool{}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		if seen[name] {
			return fmt.Errorf("%s is there twice in layer %d", name, number)
		}
		seen[name] = true
		dir, base := path.Split(name)
		if base == ".wh..wh..opq" {
			own := t[path.Clean(dir)]
			t.remove(dir, number)
			if own != nil {
				t[path.Clean(dir)] = own
			}
			continue
		}
		if gone, ok := strings.CutPrefix(base, ".wh."); ok {
			t.remove(dir+gone, number)
			continue
		}
		if name == "/" {
			continue // engines differ
		}
		if err := t.parents(number, path.Clean(dir)); err != nil {
			return err
		}
		if err := t.add(number, name, h, tr); err != nil {
			return err
		}
	}
}

// parents makes directories that no layer names, as engines do: 0755 of root.
func (t tree) parents(number int, dir string) error {
	up := t[dir]
	switch {
	case dir == "/" || up != nil && up.kind == 'd':
		return nil
	case up != nil:
		return fmt.Errorf("%s is no directory, and layer %d has something below it", dir, number)
	}
	t[dir] = &node{kind: 'd', mode: 0o755, owner: "0:0", time: epoch, layer: number}
	return t.parents(number, path.Dir(dir))
}

func (t tree) add(number int, name string, h *tar.Header, r io.Reader) error {
	n := &node{mode: h.Mode & 0o7777, owner: fmt.Sprintf("%d:%d", h.Uid, h.Gid), time: h.ModTime, layer: number}
	switch h.Typeflag {
	case tar.TypeDir:
		n.kind = 'd'
	case tar.TypeReg:
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		n.fill(data)
	case tar.TypeSymlink:
		n.kind, n.to = 'l', h.Linkname
	case tar.TypeLink:
		one := t[path.Clean("/"+h.Linkname)]
		if one == nil {
			return fmt.Errorf("%s is another name of %s, which is not there", name, h.Linkname)
		}
		if one.mode != n.mode || one.owner != n.owner || !one.time.Equal(n.time) { // an engine gives the file the mode
			return fmt.Errorf("%s says %04o %s %s, and %s, the same file, %04o %s %s", name, n.mode, n.owner, n.time, h.Linkname, one.mode, one.owner, one.time)
		}
		n = one
	case tar.TypeFifo:
		n.kind = 'p'
	case tar.TypeChar:
		n.kind, n.to = 'c', fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	case tar.TypeBlock:
		n.kind, n.to = 'b', fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	default:
		return fmt.Errorf("%s is of type %q", name, h.Typeflag)
	}
	for k, v := range h.PAXRecords {
		if x, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok && h.Typeflag != tar.TypeLink {
			if n.attrs == nil {
				n.attrs = map[string]string{}
			}
			n.attrs[x] = v
		}
	}
	if old := t[name]; old != nil && (old.kind != 'd' || n.kind != 'd') {
		t.remove(name, -1)
	}
	t[name] = n
	return nil
}

func (n *node) fill(data []byte) {
	sum := sha256.Sum256(data)
	n.kind, n.size, n.sum = 'f', int64(len(data)), hex.EncodeToString(sum[:])
	if len(data) <= 80 && strconv.CanBackquote(strings.ReplaceAll(string(data), "\n", "")) {
		n.text = string(data)
	}
}

// really is where a path leads.
func (t tree) really(name string) string {
	at := "/"
	for c := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		next := path.Join(at, c)
		for n := t[next]; n != nil && n.kind == 'l'; n = t[next] {
			if next = path.Join(at, n.to); path.IsAbs(n.to) {
				next = t.really(n.to)
			}
		}
		at = next
	}
	return at
}

// join finds the files that have several names.
func (t tree) join() {
	first := map[*node]string{}
	for _, p := range slices.Sorted(maps.Keys(t)) {
		n := t[p]
		if one, ok := first[n]; ok {
			twin := *n
			twin.same = one
			t[p] = &twin
			continue
		}
		first[n] = p
	}
}

// pack makes a tar of a list, one file a line:
//
//	srv d 0755 0:0
//	srv/a f 0644 0:0 "text" user.x="y"
//	srv/b h srv/a             which says of the file what srv/a does
//	srv/b h srv/a 0000        or another mode, as some tars do
//	srv/c l 0:0 -> a
//	srv/p p 0644 0:0
//	srv/n c 0666 0:0 1:3
//
// @probe in place of a text is the program, @N are N bytes.
func pack(list string, probe []byte, at time.Time) ([]byte, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	all := map[string]*tar.Header{}
	for line := range strings.SplitSeq(strings.TrimSpace(list), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		h, data, err := entry(line, probe)
		if err == nil {
			if one := all[h.Linkname]; h.Typeflag == tar.TypeLink && one != nil && h.Mode < 0 {
				h.Mode, h.Uid, h.Gid = one.Mode, one.Uid, one.Gid
			}
			all[h.Name] = h
			h.ModTime = at
			h.Format = tar.FormatPAX
			err = tw.WriteHeader(h)
		}
		if err == nil {
			_, err = tw.Write(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
	}
	err := tw.Close()
	return buf.Bytes(), err
}

func entry(line string, probe []byte) (*tar.Header, []byte, error) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return nil, nil, errors.New("too few words")
	}
	h := &tar.Header{Name: words[0]}
	kind, rest := words[1], words[2:]
	switch kind {
	case "h":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeLink, rest[0], -1
		if len(rest) > 1 {
			_, err := fmt.Sscanf(rest[1], "%o", &h.Mode)
			return h, nil, err
		}
		return h, nil, nil
	case "l":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, rest[2], 0o777
		_, err := fmt.Sscanf(rest[0], "%d:%d", &h.Uid, &h.Gid)
		return h, nil, err
	}
	h.Typeflag = map[string]byte{"d": tar.TypeDir, "f": tar.TypeReg, "p": tar.TypeFifo, "c": tar.TypeChar}[kind]
	if _, err := fmt.Sscanf(rest[0]+" "+rest[1], "%o %d:%d", &h.Mode, &h.Uid, &h.Gid); err != nil {
		return nil, nil, err
	}
	if kind == "c" {
		_, err := fmt.Sscanf(rest[2], "%d:%d", &h.Devmajor, &h.Devminor)
		return h, nil, err
	}
	if kind != "f" {
		return h, nil, nil
	}
	data, more, err := contentOf(strings.TrimSpace(strings.SplitN(line, rest[1], 2)[1]), probe)
	if k, v, ok := strings.Cut(more, "="); ok && err == nil {
		v, err = strconv.Unquote(v)
		h.PAXRecords = map[string]string{"SCHILY.xattr." + k: v}
	}
	h.Size = int64(len(data))
	return h, data, err
}

// contentOf is the content that a list says, and what follows it.
func contentOf(s string, probe []byte) (data []byte, more string, err error) {
	if quoted, err := strconv.QuotedPrefix(s); err == nil {
		text, err := strconv.Unquote(quoted)
		return []byte(text), strings.TrimSpace(s[len(quoted):]), err
	}
	word, more, _ := strings.Cut(s, " ")
	if word == "@probe" {
		return probe, more, nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(word, "@"))
	return bytes.Repeat([]byte("dray\n"), n/5+1)[:max(0, n)], more, err
}
