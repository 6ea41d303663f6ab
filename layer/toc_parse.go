// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// wireEntry is an entry of the JSON table, of both formats.
type wireEntry struct {
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	LinkName    string            `json:"linkName"`
	Mode        int64             `json:"mode"`
	Size        int64             `json:"size"`
	UID         int               `json:"uid"`
	GID         int               `json:"gid"`
	UserName    string            `json:"userName"`
	GroupName   string            `json:"groupName"`
	ModTime     string            `json:"modtime"`
	DevMajor    int64             `json:"devMajor"`
	DevMinor    int64             `json:"devMinor"`
	Xattrs      map[string][]byte `json:"xattrs"`
	Digest      string            `json:"digest"`
	Offset      int64             `json:"offset"`
	InnerOffset int64             `json:"innerOffset"`
	ChunkOffset int64             `json:"chunkOffset"`
	ChunkSize   int64             `json:"chunkSize"`
	ChunkDigest string            `json:"chunkDigest"`
}

var wireKeys = []string{"type", "name", "linkName", "mode", "size", "uid", "gid", "userName", "groupName", "modtime", "devMajor", "devMinor",
	"xattrs", "digest", "offset", "innerOffset", "chunkOffset", "chunkSize", "chunkDigest"}

var wireTypes = map[string]byte{"reg": tar.TypeReg, "dir": tar.TypeDir, "symlink": tar.TypeSymlink, "hardlink": tar.TypeLink,
	"char": tar.TypeChar, "block": tar.TypeBlock, "fifo": tar.TypeFifo}

// parse reads the table to the end of r, an entry at a time.
func (t *tocReader) parse(r io.Reader) error {
	t.pace = &paced{r: r, step: t.header + 64<<10}
	t.pace.next()
	dec := json.NewDecoder(t.pace)
	if err := t.document(dec); err != nil {
		return t.kind(err)
	}
	// To its end, where the digest is known.
	if _, err := io.Copy(onlySpace{}, io.MultiReader(dec.Buffered(), r)); err != nil {
		return t.kind(err)
	}
	return t.finish()
}

// paced bounds what a decoder reads, and so keeps in memory, for one value.
type paced struct {
	r          io.Reader
	step, left int64
}

func (p *paced) next() { p.left = p.step }

func (p *paced) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, oci.Errorf(oci.ErrUnsupported, "an entry of more than %d bytes", p.step)
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	return n, err
}

// onlySpace takes what may follow a JSON value.
type onlySpace struct{}

func (onlySpace) Write(p []byte) (int, error) {
	if len(bytes.TrimSpace(p)) > 0 {
		return 0, oci.Errorf(oci.ErrInvalid, "JSON is followed by more bytes")
	}
	return len(p), nil
}

// kind tells a source that fails from bytes that break the format.
func (t *tocReader) kind(err error) error {
	if TOCFallback(err) {
		return err
	}
	for _, s := range t.sections {
		if s.err != nil {
			return s.err
		}
	}
	return oci.Errorf(oci.ErrInvalid, "%w", err)
}

// document reads {"version":1,"entries":[...]}.
func (t *tocReader) document(dec *json.Decoder) error {
	if err := token(dec, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if seen[name] {
			return oci.Errorf(oci.ErrInvalid, "JSON has the key %s twice", oci.Quote(name))
		}
		seen[name] = true
		switch name {
		case "version":
			var v int
			if err = dec.Decode(&v); err == nil && v != 1 {
				err = oci.Errorf(oci.ErrUnsupported, "version %d", v)
			}
		case "entries":
			err = t.list(dec)
		default:
			var skip json.RawMessage
			err = dec.Decode(&skip)
		}
		if err != nil {
			return err
		}
	}
	if !seen["version"] || !seen["entries"] {
		return oci.Errorf(oci.ErrInvalid, "want version and entries")
	}
	return token(dec, '}')
}

func token(dec *json.Decoder, want json.Delim) error {
	tok, err := dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && tok != want {
		err = oci.Errorf(oci.ErrInvalid, "want %v in JSON, not %.20v", want, tok)
	}
	return err
}

func (t *tocReader) list(dec *json.Decoder) error {
	if err := token(dec, '['); err != nil {
		return err
	}
	owners := names{user: map[int]string{}, group: map[int]string{}}
	var raw json.RawMessage
	for dec.More() {
		if len(t.toc.entries)+len(t.toc.chunks) >= 2*t.most {
			return oci.Errorf(oci.ErrUnsupported, "more than %d entries", t.most)
		}
		t.pace.next()
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if err := checkKeys(raw); err != nil {
			return err
		}
		var w wireEntry
		if err := json.Unmarshal(raw, &w); err != nil {
			return err
		}
		if err := t.add(&w, owners); err != nil {
			return err
		}
	}
	return token(dec, ']')
}

// checkKeys refuses an object that two readers could understand differently: a
// known key twice, or in other letters, which encoding/json would take.
// oci.CheckJSON does more, but would take longer than the layer on large tables.
func checkKeys(raw []byte) error {
	var seen uint32
	depth, key := 0, false
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			depth++
			key = depth == 1 && raw[i] == '{'
		case '}', ']':
			depth--
		case ',':
			key = depth == 1
		case '"':
			end := i + 1
			for end < len(raw) && raw[end] != '"' {
				if raw[end] == '\\' {
					end++
				}
				end++
			}
			if key && end < len(raw) {
				if err := checkKey(string(raw[i+1:end]), &seen); err != nil {
					return err
				}
				key = false
			}
			i = end
		}
	}
	return nil
}

func checkKey(name string, seen *uint32) error {
	i := slices.Index(wireKeys, name)
	if i >= 0 && *seen&(1<<i) == 0 {
		*seen |= 1 << i
		return nil
	}
	if i >= 0 || strings.Contains(name, `\`) || slices.ContainsFunc(wireKeys, func(k string) bool { return strings.EqualFold(k, name) }) {
		return oci.Errorf(oci.ErrInvalid, "JSON has the key %s twice or in other letters", oci.Quote(name))
	}
	return nil
}

// names are the owners' names, which eStargz writes where they change.
type names struct{ user, group map[int]string }

func (n names) of(w *wireEntry) (user, group string) {
	if w.UserName != "" {
		n.user[w.UID] = w.UserName
	}
	if w.GroupName != "" {
		n.group[w.GID] = w.GroupName
	}
	return n.user[w.UID], n.group[w.GID]
}

// add takes an entry, or the next chunk of the file before it.
func (t *tocReader) add(w *wireEntry, owners names) error {
	if strings.ContainsRune(w.Name+w.LinkName, '\uFFFD') { // JSON has no way to write a name that is not UTF-8
		return oci.Errorf(oci.ErrUnsupported, "the name %s is not that of the layer", oci.Quote(w.Name))
	}
	if w.Type == "chunk" {
		return t.chunk(w)
	}
	flag, ok := wireTypes[w.Type]
	if flag == tar.TypeReg && strings.HasSuffix(w.Name, "/") { // in the tar a directory
		ok = false
	}
	if !ok {
		return oci.Errorf(oci.ErrUnsupported, "%s has the type %s", oci.Quote(w.Name), oci.Quote(w.Type))
	}
	e := tocEntry{name: w.Name, link: w.LinkName, typeflag: flag, mode: w.Mode, uid: w.UID, gid: w.GID, first: int32(len(t.toc.chunks)), modTime: time.Unix(0, 0)}
	if w.ModTime != "" {
		var err error
		if e.modTime, err = time.Parse(time.RFC3339, w.ModTime); err != nil {
			return oci.Errorf(oci.ErrInvalid, "%s has the time %s", oci.Quote(w.Name), oci.Quote(w.ModTime))
		}
		if e.modTime.IsZero() { // Go's way to say nothing; the tar says 1970
			e.modTime = time.Unix(0, 0)
		}
	}
	user, group := owners.of(w)
	if user != "" || group != "" || w.DevMajor != 0 || w.DevMinor != 0 || len(w.Xattrs) > 0 {
		e.extra = &tocExtra{user, group, w.DevMajor, w.DevMinor, w.Xattrs}
	}
	switch x, err := newEntry(e.header()); {
	case err != nil:
		return err
	case x == nil || flag != tar.TypeReg: // nil: means nothing, and Reader does not count it
		e.size = 0
		if x != nil {
			t.toc.entries = append(t.toc.entries, e)
		}
		t.ignore = x == nil
		return nil
	}
	t.ignore = false
	if w.Size < 0 || w.Size > t.bytes {
		return oci.Errorf(oci.ErrInvalid, "%s has %d bytes", oci.Quote(w.Name), w.Size)
	}
	t.bytes -= w.Size
	e.size = w.Size
	if w.Digest != "" {
		var err error
		if e.digest, err = oci.ParseDigest(w.Digest); err != nil {
			return err
		}
	}
	t.toc.entries = append(t.toc.entries, e)
	if w.Size == 0 {
		return nil
	}
	return t.chunk(w)
}

// chunk adds the next chunk to the last file; chunks follow one another without
// a gap.
func (t *tocReader) chunk(w *wireEntry) error {
	n := len(t.toc.entries)
	if t.ignore {
		return nil
	}
	if n == 0 || t.toc.entries[n-1].size == 0 {
		return oci.Errorf(oci.ErrInvalid, "a chunk follows no file")
	}
	e := &t.toc.entries[n-1]
	have := int64(0)
	if e.many > 0 { // the end of the chunk before, in the file
		have = t.toc.chunks[len(t.toc.chunks)-1].end
	}
	c := chunk{offset: w.Offset, skip: w.InnerOffset, size: w.ChunkSize}
	if c.size == 0 {
		c.size = e.size - have
	}
	switch {
	case w.ChunkOffset != have || c.size <= 0 || c.size > e.size-have:
		return oci.Errorf(oci.ErrInvalid, "%s has a chunk of %d bytes at %d of %d", oci.Quote(e.name), c.size, w.ChunkOffset, e.size)
	case c.offset < 0 || c.offset >= t.limit || c.skip < 0 || c.skip > maxTable:
		return oci.Errorf(oci.ErrInvalid, "%s is said to be at %d+%d of the layer", oci.Quote(e.name), c.offset, c.skip)
	}
	if w.ChunkDigest != "" {
		var err error
		if c.digest, err = oci.ParseDigest(w.ChunkDigest); err != nil {
			return err
		}
	} else if e.digest == "" {
		return oci.Errorf(oci.ErrUnsupported, "%s has no digest", oci.Quote(e.name))
	}
	c.end = have + c.size // until finish knows where it ends in the blob
	t.toc.chunks = append(t.toc.chunks, c)
	e.many++
	return nil
}

// finish checks that each file has all its chunks, and finds where in the blob
// they end: at the latest where another one begins.
func (t *tocReader) finish() error {
	for i := range t.toc.entries {
		e := &t.toc.entries[i]
		if e.size > 0 && t.toc.chunks[e.first+e.many-1].end != e.size {
			return oci.Errorf(oci.ErrInvalid, "%s does not have all its chunks", oci.Quote(e.name))
		}
	}
	starts := make([]int64, 0, len(t.toc.chunks)+1)
	for _, c := range t.toc.chunks {
		starts = append(starts, c.offset)
	}
	starts = append(starts, t.limit)
	slices.Sort(starts)
	for i := range t.toc.chunks {
		c := &t.toc.chunks[i]
		next, _ := slices.BinarySearch(starts, c.offset+1)
		c.end = starts[next]
	}
	return nil
}
