// SPDX-License-Identifier: Apache-2.0

// Package spec reads dray.yaml, which describes all builds of a repository.
//
// What a build says there are flags and arguments of dray build under the names
// of [Keys]. So the file can say what the command line can, and both mean the
// same.
package spec

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// Name is the name of the file.
const Name = "dray.yaml"

// MaxSize is the most bytes that a file may have.
const MaxSize = 1 << 20

// A File is what dray.yaml says.
type File struct {
	Name   string // of the file
	Builds []Build
}

// A Build is one of the builds of a file, with the defaults.
type Build struct {
	Name string
	Kind string // one of Kinds
	At   string // FILE:LINE:COLUMN
	// Args are what is built, as the command of the kind takes it.
	Args []string
	// Settings are the flags that the build sets, in order.
	Settings []Setting
}

// A Setting is a flag and its value.
type Setting struct {
	Key   *Key
	Value string
	At    string // FILE:LINE:COLUMN
}

// Options say how a file is read.
type Options struct {
	// Getenv is where variables are looked up; nil: there are none.
	Getenv func(name string) string
}

// Parse reads a file; name is its path, which relative paths in it begin at.
// Errors are ErrInvalid and begin with name, line and column. Whatever would not
// be done is an error: keys that are unknown or there twice, keys of another kind
// of build, variables that are not set. Anchors and aliases are not taken.
func Parse(name string, raw []byte, o Options) (*File, error) {
	if len(raw) > MaxSize {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: more than %d bytes", name, MaxSize)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case err == io.EOF:
		return nil, oci.Errorf(oci.ErrInvalid, "%s: it is empty: want version and builds", name)
	case err != nil:
		return nil, broken(name, raw, err)
	}
	p := &parser{name: name, getenv: o.Getenv}
	f := p.file(doc.Content[0])
	switch err := dec.Decode(&more); {
	case p.err != nil:
	case err == nil:
		p.fail(&more, "a second document")
	case err != io.EOF:
		p.err = broken(name, raw, err)
	}
	return f, p.err
}

// broken is what the YAML reader says of text that is no YAML. It names the line
// that a block begins at: the line meant is the last of the fewest that have the
// same fault.
func broken(name string, raw []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	rest, ok := strings.CutPrefix(text, "line ")
	if !ok {
		return oci.Errorf(oci.ErrInvalid, "%s: %s", name, text)
	}
	number, rest, _ := strings.Cut(rest, ": ")
	line, _ := strconv.Atoi(number)
	lines := strings.SplitAfter(string(raw), "\n")
	fewest := sort.Search(len(lines), func(n int) bool {
		again := fault(strings.Join(lines[:n+1], ""))
		return again != nil && again.Error() == err.Error()
	})
	if fewest < len(lines) {
		line = max(line, fewest+1)
	}
	return oci.Errorf(oci.ErrInvalid, "%s:%d: %s", name, line, rest)
}

// fault is what is wrong with a text as YAML.
func fault(text string) error {
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil && err != io.EOF {
			return err
		} else if err == io.EOF {
			return nil
		}
	}
}

// Choose are the builds of some names, in their order; all for none.
func (f *File) Choose(names ...string) ([]Build, error) {
	if len(names) == 0 {
		return f.Builds, nil
	}
	var out []Build
	for n, name := range names {
		i := slices.IndexFunc(f.Builds, func(b Build) bool { return b.Name == name })
		switch {
		case i < 0:
			return nil, oci.Errorf(oci.ErrNotFound, "%s has no build %s%s", f.Name, oci.Quote(name), f.have(name))
		case slices.Contains(names[:n], name):
			return nil, oci.Errorf(oci.ErrInvalid, "build %s is named twice", oci.Quote(name))
		}
		out = append(out, f.Builds[i])
	}
	return out, nil
}

func (f *File) have(name string) string {
	var names []string
	for _, b := range f.Builds {
		names = append(names, b.Name)
	}
	if near := nearest(name, names); near != "" {
		return "; is it " + oci.Quote(near) + "?"
	}
	return fmt.Sprintf("; it has %s", strings.Join(names, ", "))
}
