// SPDX-License-Identifier: Apache-2.0

// Package build makes images of applications: stacks of layers with a config,
// for several platforms at once.
//
// A [Builder] knows one kind of application and lives in a package of its own
// below this one. An [Engine] has what all of them need: bases, layers, the
// cache. [Run] lets a builder make an image for each of its targets and joins
// them.
package build

import (
	"context"

	"github.com/dray-tools/dray/oci"
)

// A Builder makes the image of one application, on one or more platforms. It is
// safe for concurrent use.
type Builder interface {
	// Name is what errors and the list of results call it: an import path, a
	// directory.
	Name() string
	// Targets tells which images there will be, one for each platform. What is
	// wrong with what the user wrote is found here as far as it can be: no layer
	// of a base has been read then.
	Targets(ctx context.Context, e *Engine, want Want) ([]Target, error)
	// Build makes the image of a target. It is called for several at once.
	Build(ctx context.Context, e *Engine, t Target) (*Stack, error)
}

// A Watcher is a Builder that knows what it reads, so that somebody can wait for
// it to change. Paths are files and directories, the latter with all below them;
// they are valid after Targets.
type Watcher interface {
	Watch(ctx context.Context) ([]string, error)
}

// Want is what the user asks for.
type Want struct {
	// From are the bases: references, or Scratch or Static; none: the builder's own choice.
	From []string
	// Platforms are to be built; none: the builder's own choice.
	Platforms []oci.Platform
	// All platforms that the bases have are to be built.
	All bool
}

// A Target is an image that is to be built.
type Target struct {
	// Platform is what the image will be for, complete: as the base says it.
	Platform oci.Platform
	Base     *Base
}

// Names of bases that are not references.
const (
	Scratch = "scratch" // nothing at all
	// Static has certificates, time zones and a user that is not root, and no
	// program; see package build/static.
	Static = "scratch+certs"
)
