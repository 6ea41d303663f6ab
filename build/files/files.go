// SPDX-License-Identifier: Apache-2.0

// Package files builds images of plain files and of programs that are compiled
// already.
package files

import (
	"context"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
)

// A Place is something that is put into an image.
type Place struct {
	From  string // a file or directory
	To    string // where it is put
	Rules layer.CreateOptions
}

// New builds images with a layer for each place.
func New(places []Place) build.Builder {
	b := &builder{places: places}
	for _, p := range places {
		b.inputs = append(b.inputs, input.Dir(p.From, p.To, p.Rules))
	}
	return b
}

type builder struct {
	places []Place
	inputs []*input.Input // shared by all targets, so that each is read once
}

// Name implements build.Builder.
func (b *builder) Name() string { return b.places[0].From }

// Targets implements build.Builder.
func (b *builder) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	return e.Targets(ctx, want, build.Default{From: build.Static})
}

// Build implements build.Builder.
func (b *builder) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	s, err := e.Stack(ctx, t.Base)
	if err != nil {
		return nil, err
	}
	for _, in := range b.inputs {
		if _, err := s.Add(ctx, in, build.AddOptions{}); err != nil {
			return nil, err
		}
	}
	return s, nil
}
