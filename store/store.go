// SPDX-License-Identifier: Apache-2.0

// Package store is the one table from the scheme of a reference to the store
// that it names.
package store

import (
	"io"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store/archive"
	"github.com/dray-tools/dray/store/daemon"
	"github.com/dray-tools/dray/store/dir"
	"github.com/dray-tools/dray/store/layout"
	"github.com/dray-tools/dray/store/podman"
	"github.com/dray-tools/dray/store/registry"
)

// Env is what stores need of the run they belong to.
type Env struct {
	// Registry opens the registry that a reference names.
	Registry func(r ref.Ref) (*registry.Registry, error)
	// In and Out are what the path "-" of an archive means.
	In  io.Reader
	Out io.Writer
	// TempDir is for what has to be on disk for a while; "": the system's.
	TempDir string
	// DockerHost, DockerCerts and DockerVerify are Docker's DOCKER_HOST,
	// DOCKER_CERT_PATH and DOCKER_TLS_VERIFY.
	DockerHost, DockerCerts string
	DockerVerify            bool
	// LookPath finds programs, as exec.LookPath.
	LookPath func(string) (string, error)
}

// Open opens the store of a reference: its repository, not what is in it. With
// write a place that does not exist may be made.
func Open(r ref.Ref, write bool, e Env) (oci.Store, error) {
	switch r.Scheme {
	case ref.Registry:
		return openRegistry(r, write, e)
	case ref.Layout:
		return layout.Open(r.Path, layout.Options{Create: write, ReadOnly: !write})
	case ref.OCIArchive:
		return archive.Open(r.Path, archive.Options{Kind: archive.OCI, Write: write, In: e.In, Out: e.Out, TempDir: e.TempDir})
	case ref.DockerArchive:
		return archive.Open(r.Path, archive.Options{Kind: archive.Docker, Write: write, In: e.In, Out: e.Out, TempDir: e.TempDir})
	case ref.Dir:
		return dir.Open(r.Path, dir.Options{Write: write})
	case ref.Daemon:
		return daemon.Open(r.Name, daemon.Options{Host: e.DockerHost, CertPath: e.DockerCerts, TLSVerify: e.DockerVerify, TempDir: e.TempDir, Write: write})
	case ref.Podman:
		return podman.Open(r.Name, podman.Options{LookPath: e.LookPath, TempDir: e.TempDir, Write: write})
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "no store for %s:", oci.Quote(r.Scheme))
}

func openRegistry(r ref.Ref, write bool, e Env) (oci.Store, error) {
	g, err := e.Registry(r)
	if err != nil {
		return nil, err
	}
	repo, err := g.Repo(r.Repository)
	switch {
	case err != nil:
		return nil, err
	case write:
		return repo.ForWriting(), nil
	}
	return repo.ForReading(), nil
}
