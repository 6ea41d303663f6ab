// SPDX-License-Identifier: Apache-2.0

package layer

import "context"

// A Ground is the file system that a layer is put on, as far as Rewrite asks.
type Ground interface {
	// Dir tells where a directory really is, when the links on the way to it, and
	// a link at its end, are followed within the root. dir is clean, slash-separated
	// and without a slash at its start.
	Dir(ctx context.Context, dir string) (Place, error)
}

// A Place is where a directory really is.
type Place struct {
	Path  string // clean, "." for the root
	There There

	// Odd says that a Present directory is not 0755 of root, but what follows, or
	// that it would get setgid from the one that it is in: an engine that makes the
	// directory anew for what is put in it has to be told.
	Odd  bool  `json:",omitempty"`
	Mode int64 `json:",omitempty"`
	UID  int   `json:",omitempty"`
	GID  int   `json:",omitempty"`
}

// There tells whether a Place exists.
type There uint8

// What is at a Place.
const (
	Unknown There = iota // nothing was looked at
	Absent
	Present // a directory
	Blocked // something else, here or on the way
)
