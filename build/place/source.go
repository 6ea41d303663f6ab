// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/dray-tools/dray/oci"
)

// A Source is where files are taken from: a Context or a Stack.
type Source interface {
	// id tells sources apart.
	id() string
	// open opens it for a look. The caller closes the view.
	open(ctx context.Context) (view, error)
}

// A view is the files of a source.
type view interface {
	// find follows links, within the source, to where a path really leads.
	find(name string) (found, error)
	// walk visits what is below a directory, the directory itself not, in order and
	// without following links; what is below a directory only if visit says so.
	walk(dir string, visit func(rel string, dir bool) (down bool)) error
	// part is what the picks mean, to be written once or more, after close as well.
	part(picks []pick, exclude []string) (part, error)
	close() error
}

// A found file.
type found struct {
	real string // its path in the source, "." for the root
	dir  bool
	file bool // a regular one
	link bool // the path that was asked for is a link to it
}

// A pick is a file or directory of a source that is copied.
type pick struct {
	from string // path in the source, really
	to   string // path in the image; of a directory where all goes that is in it
	rel  string // as patterns of Exclude see it, "" of a directory whose contents are copied
	self bool   // a directory is copied as it is, not what is in it
	only bool   // of a directory nothing in it

	base string // of a file that has no to yet: its name in Dest
	tar  bool   // it is unpacked if it is a tar
}

// A part of a tar.
type part interface {
	// write writes it: the same each time.
	write(w *writer) error
	// key names all that is written; "" if that is not known without a look.
	key() string
}

// rules are patterns of what is left out, as in a .dockerignore; nil leaves out
// nothing. They are not safe for concurrent use.
type rules struct {
	m *patternmatcher.PatternMatcher
}

// A state is what rules know of a directory that they were asked about.
type state = patternmatcher.MatchInfo

func newRules(patterns []string) (*rules, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		for _, p := range patterns {
			if _, bad := patternmatcher.New([]string{p}); bad != nil {
				return nil, oci.Errorf(oci.ErrInvalid, "pattern %s: %w", oci.Quote(p), bad)
			}
		}
		return nil, oci.Errorf(oci.ErrInvalid, "patterns: %w", err)
	}
	return &rules{m}, nil
}

// out reports whether a path is left out, whose directory has the state up.
func (r *rules) out(name string, up state) (bool, state, error) {
	if r == nil || name == "" || name == "." {
		return false, state{}, nil
	}
	out, s, err := r.m.MatchesUsingParentResults(name, up)
	if err != nil {
		err = oci.Errorf(oci.ErrInvalid, "pattern: %w", err)
	}
	return out, s, err
}

// deep is out for a path whose directories nobody has asked about.
func (r *rules) deep(name string) (out bool, s state, err error) {
	if name == "." {
		name = ""
	}
	for at, c := "", ""; name != "" && err == nil; {
		c, name, _ = strings.Cut(name, "/")
		at = path.Join(at, c)
		out, s, err = r.out(at, s)
	}
	return out, s, err
}

// back reports whether something can be taken back in that is below what is left out.
func (r *rules) back() bool { return r != nil && r.m.Exclusions() }
