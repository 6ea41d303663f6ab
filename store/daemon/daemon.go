// SPDX-License-Identifier: Apache-2.0

// Package daemon keeps images of a Docker engine, over the API of its socket.
//
// An image is read as what "docker save" writes, and written as what "docker
// load" reads, as a stream that is made while it is sent. Layers that the engine
// has are not sent: of an image whose diff IDs begin as those of an image of the
// engine, the engine does not open the files of the layers they share. An
// engine that keeps its images in containerd gets all of them.
//
// The engine keeps configs and unpacked layers, not manifests: the digest of
// what is read back may be another than that of what was written.
package daemon

import (
	"context"
	"errors"
	"io"
	"regexp"
	"sync"

	"github.com/distribution/reference"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/archive"
)

// Options say where the engine is and what is to be done. The zero value reads
// from the local engine.
type Options struct {
	// Host is as DOCKER_HOST has it: unix://PATH or tcp://HOST:PORT. Empty
	// means unix:///var/run/docker.sock.
	Host string
	// CertPath is a directory with ca.pem, cert.pem and key.pem, as in
	// DOCKER_CERT_PATH: tcp is encrypted.
	CertPath string
	// TLSVerify is as DOCKER_TLS_VERIFY: tcp is encrypted, and the engine must
	// prove who it is.
	TLSVerify bool
	// TempDir is where an image that is read is spooled; empty means
	// os.TempDir.
	TempDir string
	// Write allows to load an image into the engine, which is not read then.
	Write bool
}

// An Image is one image of an engine. It is an oci.Store, which either reads or
// writes; what is written is there with Commit. It is safe for concurrent use.
type Image struct {
	name string // as it was given
	full string // docker.io/library/busybox:1; empty for an ID
	o    Options
	c    *client

	mu    sync.Mutex
	saved *archive.Archive // what is read; nil until then

	have   *layers          // of what is written
	upload *upload          // what is written
	out    *archive.Archive // writes into it
}

// Open opens the image that ref names: a name, without tag that of latest, or
// an ID, which can only be read. Nothing is asked of the engine yet. ErrInvalid
// if ref cannot be one, ErrUnsupported for hosts that dray does not reach. The
// caller closes the image.
func Open(ref string, o Options) (*Image, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	i := &Image{name: ref, o: o, c: c}
	if i.full, err = fullName(ref); err != nil {
		return nil, err
	}
	if !o.Write {
		return i, nil
	}
	if i.full == "" {
		return nil, oci.Errorf(oci.ErrInvalid, "%s is an ID or a digest: an image is written by its name", oci.Quote(ref))
	}
	i.have = newLayers(c)
	i.upload = &upload{c: c}
	i.out, err = archive.Open("-", archive.Options{Kind: archive.Docker, Write: true, Out: i.upload, Omit: i.have.omit, Name: "the Docker engine at " + c.place})
	return i, err
}

var bareID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// fullName is the full form of a name; empty if it is an ID or a digest of one.
func fullName(ref string) (string, error) {
	if _, err := oci.ParseDigest(ref); err == nil || bareID.MatchString(ref) {
		return "", nil
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", oci.Errorf(oci.ErrInvalid, "image %s: %w", oci.Quote(ref), err)
	}
	if _, digested := named.(reference.Digested); digested {
		return "", nil
	}
	return reference.TagNameOnly(named).String(), nil
}

// Locate implements oci.Locator.
func (i *Image) Locate() (host, repository string) { return "docker-daemon:" + i.c.place, i.name }

// Close drops what was put and not committed, and what was spooled.
func (i *Image) Close() error {
	err := i.Abort()
	if i.out != nil {
		err = errors.Join(err, i.out.Close())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.saved != nil {
		err = errors.Join(err, i.saved.Close())
		i.saved = nil
	}
	i.c.http.CloseIdleConnections()
	return err
}

// place names the image in errors.
func (i *Image) place() string { return "docker-daemon:" + i.name }

// Resolve implements oci.Source. The empty name and that of the image mean it;
// a digest is that of its manifest, as it was made from what the engine has.
//
// With Options.Write the digest is the engine's own ID of the image, which
// tells whether the name is in use, and no manifest.
func (i *Image) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	d, err := i.resolve(ctx, name)
	return d, oci.Wrap("", i.place(), err)
}

func (i *Image) resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	_, isID := oci.ParseDigest(name)
	if full, err := fullName(name); name != "" && name != i.name && isID != nil && (err != nil || full != i.full || full == "") {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s is another image", oci.Quote(name))
	}
	if i.o.Write {
		if name == "" {
			name = i.name
		}
		info, err := i.c.inspect(ctx, name)
		return oci.Descriptor{MediaType: oci.MediaDockerConfig, Digest: info.ID}, err
	}
	a, err := i.save(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if isID == nil && name != i.name {
		return a.Resolve(ctx, name)
	}
	return a.Resolve(ctx, "")
}

// save has the engine write the image, once. It is asked for by its ID, so that
// one name is not taken for a repository, and what was looked up is what comes.
func (i *Image) save(ctx context.Context) (*archive.Archive, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i.o.Write {
		return nil, oci.Errorf(oci.ErrUnsupported, "it is open for writing only")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.saved != nil {
		return i.saved, nil
	}
	info, err := i.c.inspect(ctx, i.name)
	if err != nil {
		return nil, err
	}
	body, err := i.c.save(ctx, info.ID)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	a, err := archive.Open("-", archive.Options{Kind: archive.Docker, In: body, TempDir: i.o.TempDir, Name: "the Docker engine at " + i.c.place})
	if err != nil {
		return nil, err
	}
	if _, err = a.Resolve(ctx, ""); err != nil { // reads all of it
		return nil, errors.Join(err, a.Close())
	}
	i.saved = a
	return a, nil
}

// Stat implements oci.Source. With Options.Write it tells which layers the
// engine has of an image that was admitted.
func (i *Image) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if i.o.Write {
		if err := ctx.Err(); err != nil {
			return oci.Descriptor{}, err
		}
		d, err := i.out.Stat(ctx, d)
		return d, oci.Wrap("", i.place(), err)
	}
	a, err := i.save(ctx)
	if err != nil {
		return oci.Descriptor{}, oci.Wrap("", i.place(), err)
	}
	d, err = a.Stat(ctx, d)
	return d, oci.Wrap("", i.place(), err)
}

// Open implements oci.Source.
func (i *Image) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	a, err := i.save(ctx)
	if err != nil {
		return nil, oci.Wrap("", i.place(), err)
	}
	r, err := a.Open(ctx, d)
	return r, oci.Wrap("", i.place(), err)
}

// OpenRange implements oci.Ranger.
func (i *Image) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	a, err := i.save(ctx)
	if err != nil {
		return nil, oci.Wrap("", i.place(), err)
	}
	r, err := a.OpenRange(ctx, d, offset, length)
	return r, oci.Wrap("", i.place(), err)
}
