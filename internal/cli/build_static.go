// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/spf13/pflag"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/static"
)

// staticFlags are those of the base scratch+certs.
type staticFlags struct {
	certs []string
	used  *atomic.Bool // the base
}

func (o *staticFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&o.certs, "ca-certs", nil, "trust the certificates of `FILE` (PEM) too, in the base scratch+certs (several allowed)")
}

// base is what puts the base on a stack.
func (o *staticFlags) base() (func(context.Context, *build.Stack) error, error) {
	b, err := static.New(static.Options{Certificates: o.certs})
	if err != nil {
		return nil, err
	}
	used := &atomic.Bool{}
	o.used = used
	return func(ctx context.Context, s *build.Stack) error {
		used.Store(true)
		return b.Put(ctx, s)
	}, nil
}

// check refuses flags of a base that was not used.
func (o *staticFlags) check() error {
	if len(o.certs) > 0 && !o.used.Load() {
		return errors.New("--ca-certs adds to the base scratch+certs, and nothing is built on that")
	}
	return nil
}
