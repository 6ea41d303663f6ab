// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/internal/temp"
	"github.com/dray-tools/dray/oci"
)

// A fetched content came from elsewhere: it is in the cache, or in a file that
// goes with the process.
type fetched struct {
	Digest  oci.Digest `json:"digest"`
	Size    int64      `json:"size"`
	Name    string     `json:"name,omitempty"`
	ModTime time.Time  `json:"modTime,omitzero"`
	Commit  string     `json:"commit,omitempty"` // that it is of

	path string // in the cache; "": f
	f    *temp.File
}

// maxFetched bounds what is fetched.
const maxFetched = 64 << 30

// spool takes what write writes.
func spool(ctx context.Context, e *build.Engine, write func(w io.Writer) error) (*fetched, error) {
	f, err := temp.Create(e.Options().TempDir)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	n := &counter{ctx: ctx, w: io.MultiWriter(f, h), left: maxFetched}
	if err := write(n); err != nil {
		f.Close()
		return nil, err
	}
	out := &fetched{Digest: digest.NewDigest(digest.SHA256, h), Size: maxFetched - n.left, f: f}
	if dir := e.Options().CacheDir; dir != "" {
		path := out.place(dir)
		err := disk.Keep(path, func(w io.Writer) error {
			_, err := io.Copy(w, io.NewSectionReader(f, 0, out.Size))
			return err
		})
		if err == nil {
			out.path, out.f = path, nil
			f.Close()
		}
	}
	return out, nil
}

// place is where it is in the cache.
func (f *fetched) place(dir string) string {
	return filepath.Join(dir, "place", "fetched", f.Digest.Encoded())
}

// A counter ends with the context, and at a limit.
type counter struct {
	ctx  context.Context
	w    io.Writer
	left int64
}

func (c *counter) Write(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	if int64(len(p)) > c.left {
		return 0, oci.Errorf(oci.ErrInvalid, "it has more than %d bytes", int64(maxFetched))
	}
	n, err := c.w.Write(p)
	c.left -= int64(n)
	return n, err
}

// open reads it, verified. The caller closes the reader.
func (f *fetched) open() (io.ReadCloser, error) {
	d := oci.Descriptor{Digest: f.Digest, Size: f.Size}
	if f.f != nil {
		return oci.Verify(io.NopCloser(io.NewSectionReader(f.f, 0, f.Size)), d), nil
	}
	r, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	return oci.Verify(r, d), nil
}

// remember keeps what was fetched for a key.
func (f *fetched) remember(e *build.Engine, key string) {
	if raw, err := json.Marshal(f); err == nil && f.path != "" {
		newKept(e, "known", key).write(string(raw))
	}
}

// recall finds what was fetched for a key; nil if it is not there any more, or
// not as it was.
func recall(e *build.Engine, key string) *fetched {
	raw, ok := newKept(e, "known", key).read(1 << 16)
	var f fetched
	if !ok || json.Unmarshal([]byte(raw), &f) != nil {
		return nil
	}
	if _, err := oci.ParseDigest(string(f.Digest)); err != nil {
		return nil
	}
	f.path = f.place(e.Options().CacheDir)
	r, err := f.open()
	if err != nil {
		return nil
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil
	}
	return &f
}
