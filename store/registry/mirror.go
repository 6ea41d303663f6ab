// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"

	"github.com/dray-tools/dray/oci"
)

// home is the repository at the registry itself, where it is written.
func (r *Repo) home() Mirror { return Mirror{Endpoint: r.g.endpoint, Repository: r.name} }

// own reports whether a place is the one that is written: only what that says
// is remembered, because a mirror may have more or less.
func (r *Repo) own(m Mirror) bool { return m == r.home() }

// mirrors lists where to read, best first.
func (r *Repo) mirrors(byDigest bool) ([]Mirror, error) {
	if r.g.o.Mirrors != nil {
		if list, err := r.g.o.Mirrors(r.name, byDigest); err != nil || len(list) > 0 {
			return list, err
		}
	}
	return []Mirror{r.home()}, nil
}

// asked lists where to ask for what is there, best first: see Primary.
func (r *Repo) asked(byDigest bool) ([]Mirror, error) {
	if r.primary {
		return []Mirror{r.home()}, nil
	}
	return r.mirrors(byDigest)
}

// mirrored reports whether others than the registry itself are asked for what is
// there.
func (r *Repo) mirrored(byDigest bool) bool {
	list, err := r.asked(byDigest)
	return err == nil && (len(list) != 1 || !r.own(list[0]))
}

// first tries one place after the other, also after wrong content. If none
// helps, the error is that of the last one.
func first[T any](ctx context.Context, r *Repo, places []Mirror, try func(Mirror) (T, error)) (T, error) {
	var out T
	var err error
	for i, m := range places {
		if out, err = try(m); err == nil || ctx.Err() != nil {
			break
		}
		if i < len(places)-1 {
			r.g.o.Log.Warn("mirror does not help, trying the next", "mirror", m.Endpoint.Host+"/"+m.Repository, "error", err)
		}
	}
	return out, err
}

// busy makes a failed read one that is worth another try, unless the context
// has ended or the error is of a kind already.
func busy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, kind := range []error{oci.ErrBusy, oci.ErrCorrupt, oci.ErrInvalid, oci.ErrDenied, oci.ErrNotFound, oci.ErrUnsupported, oci.ErrUnauthorized} {
		if errors.Is(err, kind) {
			return err
		}
	}
	return oci.Errorf(oci.ErrBusy, "connection lost: %w", err)
}
