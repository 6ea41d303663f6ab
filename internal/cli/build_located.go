// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// located is a builder whose errors say where it was asked for.
type located struct {
	build.Builder
	at string
}

// Targets implements build.Builder.
func (l located) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	t, err := l.Builder.Targets(ctx, e, want)
	return t, oci.Wrap("", l.at, err)
}

// Build implements build.Builder.
func (l located) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	s, err := l.Builder.Build(ctx, e, t)
	return s, oci.Wrap("", l.at, err)
}

// Describe implements build.Describer.
func (l located) Describe(ctx context.Context) (about build.About, err error) {
	if d, ok := l.Builder.(build.Describer); ok {
		return d.Describe(ctx)
	}
	return about, nil
}

// Watch implements build.Watcher.
func (l located) Watch(ctx context.Context) ([]string, error) {
	if w, ok := l.Builder.(build.Watcher); ok {
		return w.Watch(ctx)
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "nobody knows what is read")
}
