// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"fmt"

	"github.com/dray-tools/dray/convert"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/transfer"
)

// opening is the stores of one plan: one object a place, as the run's memory
// hangs on it.
type opening struct {
	stores map[string]oci.Store
	made   map[string]oci.Source // sources that change what they read
}

// source opens where a copy reads, with what has to be changed on the way.
func (c *Client) source(at opening, from, to ref.Ref, o CopyOptions) (oci.Source, error) {
	st, err := c.opened(at, "from ", from, o.From, false)
	if err != nil {
		return nil, err
	}
	plain := o.Packing == nil && plainLayers(from) && packedLayers(to)
	if o.Packing == nil && o.MediaTypes == "" && !plain {
		return st, nil
	}
	key := fmt.Sprint(from.Repo(), plain)
	if from.Scheme == ref.Daemon || from.Scheme == ref.Podman {
		key = from.String()
	}
	if s := at.made[key]; s != nil {
		return s, nil
	}
	co := convert.Options{Packing: o.Packing, PlainOnly: plain, MediaTypes: o.MediaTypes, NoWork: o.NoWork,
		CacheDir: c.env.CacheDir, TempDir: c.env.TempDir, Progress: o.Packs}
	if len(o.Platforms) > 0 {
		co.Keep = func(m *oci.Manifest) ([]bool, error) { return transfer.Choose(m, o.Platforms) }
	}
	s := convert.New(st, co)
	c.closeLater(s)
	at.made[key] = s
	return s, nil
}

// plainLayers reports whether layers may come without any compression because
// of where they come from, and not because somebody wanted it.
func plainLayers(r ref.Ref) bool {
	return r.Scheme == ref.DockerArchive || r.Scheme == ref.Daemon || r.Scheme == ref.Podman
}

// packedLayers reports whether layers are expected to be compressed there.
func packedLayers(r ref.Ref) bool {
	return r.Scheme == ref.Registry || r.Scheme == ref.Layout || r.Scheme == ref.OCIArchive
}
