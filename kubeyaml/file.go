// SPDX-License-Identifier: Apache-2.0

package kubeyaml

import (
	"bytes"
	"fmt"

	"github.com/dray-tools/dray/oci"
)

// What may be in a file: more is an error, so that memory is bounded.
const (
	MaxFile     = 64 << 20 // bytes
	MaxDocument = 8 << 20  // bytes; an object of Kubernetes has 3 MiB at most
)

// Options say what is looked for.
type Options struct {
	// Schemes begin references: "ko://".
	Schemes []string
	// Select tells by its labels whether an object stays; nil: all do. Of a List each
	// item is asked, and a List without items goes too.
	Select func(labels map[string]string) bool
}

// A File is a stream of documents.
type File struct {
	Name string // for errors
	Refs []Ref  // in the order of the file
	// Notes say what looks like a reference and is none: NAME:LINE: text.
	Notes []string

	more int // notes
	docs []*document
}

// A Ref is a place where a reference stands.
type Ref struct {
	Text string // with its scheme, as ko://example.com/cmd/app
	Line int    // from 1
}

// Parse finds the references of a file. The name is for errors, which are of
// ErrInvalid and say NAME:LINE where a line is known.
func Parse(name string, data []byte, o Options) (*File, error) {
	f := &File{Name: name}
	if len(data) > MaxFile {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: larger than %d MiB", name, MaxFile>>20)
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: it is UTF-16: want UTF-8", name)
	}
	last := false // the document before is in the list
	for _, d := range split(data) {
		if len(d.text) > MaxDocument {
			return nil, f.wrong(d.line, "the document that begins here is larger than %d MiB", MaxDocument>>20)
		}
		list, err := f.parse(d, o)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			list[0].follows = d.follows && last
		}
		last = len(list) > 0
		f.docs = append(f.docs, list...)
	}
	for _, d := range f.docs {
		for _, r := range d.refs {
			f.Refs = append(f.Refs, r.Ref)
		}
	}
	return f, nil
}

// parse parses what stands between two separators: one document, or several in
// JSON. None are returned if none is selected.
func (f *File) parse(d *document, o Options) ([]*document, error) {
	list := []*document{d}
	trees, isJSON := parseJSON(d)
	if isJSON {
		list = d.cut(trees)
	} else {
		t, err := f.parseYAML(d)
		if err != nil {
			return nil, err
		}
		trees = []*tree{t}
	}
	var kept []*document
	for n, d := range list {
		if trees[n].root == nil { // nothing but comments
			if o.Select == nil {
				kept = append(kept, d)
			}
			continue
		}
		d.hasValue = true
		if err := f.find(d, trees[n], o.Schemes); err != nil {
			return nil, err
		}
		if o.Select != nil {
			stays, err := f.selects(d, trees[n], o.Select)
			if err != nil {
				return nil, err
			}
			if !stays {
				continue
			}
		}
		kept = append(kept, d)
	}
	return kept, nil
}

func (f *File) wrong(line int, format string, args ...any) error {
	return oci.Errorf(oci.ErrInvalid, "%s:%d: %s", f.Name, line, fmt.Sprintf(format, args...))
}

// note notes something; the first places are enough to understand it.
func (f *File) note(line int, format string, args ...any) {
	const most = 10
	if f.more++; f.more <= most {
		f.Notes = append(f.Notes, fmt.Sprintf("%s:%d: %s", f.Name, line, fmt.Sprintf(format, args...)))
		return
	}
	f.Notes = append(f.Notes[:most], fmt.Sprintf("%s: %d more such places", f.Name, f.more-most))
}
