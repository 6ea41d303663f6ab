// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"testing"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/registry"
)

func TestCatalog(t *testing.T) {
	t.Parallel()
	ocitest.TestCatalog(t, func(t *testing.T) oci.Catalog { return newRig(t, serve.Options{}).client() })
}

// The client gets along with registries that lack something.
func TestStoreWithQuirks(t *testing.T) {
	t.Parallel()
	user := func(context.Context, string, string) (transport.Credential, error) {
		return transport.Credential{Username: "u", Password: "secret"}, nil
	}
	for name, c := range map[string]struct {
		quirks serve.Quirks
		client transport.Options
		o      registry.Options
	}{
		"NoReferrersAPI": {quirks: serve.Quirks{NoReferrersAPI: true}},
		"NoHead":         {quirks: serve.Quirks{HeadUnsupported: true}},
		"NoMount":        {quirks: serve.Quirks{NoMount: true}},
		"MountRefused":   {quirks: serve.Quirks{RejectCrossMount: true}},
		"NoRange":        {quirks: serve.Quirks{NoRange: true}},
		"NoDigest":       {quirks: serve.Quirks{NoDigestHeader: true, NoTagParam: true}},
		"NoTagDelete":    {quirks: serve.Quirks{NoTagDelete: true}},
		"NoTagParam":     {quirks: serve.Quirks{NoTagParam: true}},
		"SmallPages":     {quirks: serve.Quirks{PageSize: 2}},
		"Chunks":         {quirks: serve.Quirks{MaxBody: 30_000, ChunkMinLength: 10_000}, o: registry.Options{ChunkSize: 20_000}},
		"LongChunks":     {quirks: serve.Quirks{MaxBody: 30_000, ChunkMinLength: 30_000}, o: registry.Options{ChunkSize: 20_000}},
		"Tokens":         {quirks: serve.Quirks{Bearer: &serve.Bearer{User: "u", Password: "secret"}}, client: transport.Options{Credentials: user}},
		"StateDir":       {o: registry.Options{StateDir: t.TempDir()}},
		"Old": {quirks: serve.Quirks{NoReferrersAPI: true, HeadUnsupported: true, NoMount: true, NoRange: true, NoDigestHeader: true,
			NoTagDelete: true, NoTagParam: true, PageSize: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ocitest.TestStore(t, func(t *testing.T) oci.Store {
				g := newRig(t, serve.Options{Quirks: c.quirks})
				return repo(t, g.clientOver(c.client, c.o), "some/repository").ForWriting()
			})
		})
	}
}

// A client that announces reading asks with GET for what HEAD does not find.
func TestStoreForReading(t *testing.T) {
	t.Parallel()
	ocitest.TestStore(t, func(t *testing.T) oci.Store { return newRig(t, serve.Options{}).repo("r").ForReading() })
}
