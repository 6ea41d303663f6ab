// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"io"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// IsRemote reports whether a context is an address and no path.
func IsRemote(address string) bool { return isRemote(address) }

// Remote fetches a context: the files of a repository of git as a tar, or what a
// URL has. It is remembered as what an ADD fetches. Open can be called again and
// again.
func Remote(ctx context.Context, e *build.Engine, address string) (open func() (io.ReadCloser, error), m build.Material, err error) {
	var f *fetched
	at := Discreet(address)
	m = build.Material{Name: "context", URI: at}
	if isGit(address) {
		g, err := parseGit(address)
		if err == nil {
			f, err = (&gitRun{ctx: ctx, gitRef: g}).tar(e)
		}
		if err != nil {
			return nil, m, oci.Wrap("", at, err)
		}
		m.URI, m.Digest = "git+"+Discreet(g.remote), map[string]string{"gitCommit": f.Commit}
		return f.open, m, nil
	}
	if f, err = fetch(ctx, e, address, ""); err != nil {
		return nil, m, oci.Wrap("", at, err)
	}
	m.Digest = map[string]string{"sha256": f.Digest.Encoded()}
	return f.open, m, nil
}
