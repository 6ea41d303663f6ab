// SPDX-License-Identifier: Apache-2.0

// Package check checks a graph down to the files in its layers: that all of it
// is there and is what its digests say, that manifests, configs and layers fit
// one another, and that no layer holds what two readers could understand
// differently.
//
// What is wrong with the content is a [Finding]. Only what keeps the check
// itself from being done is an error: a host out of reach, missing
// credentials, an end by the context.
package check

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A Severity is what a finding means for who uses the image.
type Severity string

// The severities. An error breaks a rule that readers rely on, a warning is
// something that some readers refuse or read differently, a note says what was
// not looked at.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// The codes of findings, which stay what they are from version to version.
const (
	CodeMissing   = "missing"    // a manifest or blob is not there
	CodeSize      = "size"       // a blob is there with another size
	CodeCorrupt   = "corrupt"    // bytes do not match their digest or size
	CodeManifest  = "manifest"   // a manifest cannot be parsed, or in two ways
	CodeData      = "data"       // data embedded in a descriptor does not match it
	CodeConflict  = "conflict"   // one digest is mentioned with two sizes or kinds
	CodeLimit     = "limit"      // more than is checked: depth, entries, bytes
	CodeSubject   = "subject"    // the subject is not in the repository
	CodeConfig    = "config"     // a config breaks its format
	CodeLayers    = "layers"     // not one diff ID for each layer
	CodeHistory   = "history"    // not one history entry for each layer
	CodePlatform  = "platform"   // index and config name different platforms, or two images one
	CodeMix       = "mix"        // media types of Docker and OCI in one manifest
	CodeMediaType = "media-type" // a layer is packed otherwise than its media type says, or is no layer
	CodeForeign   = "foreign"    // a layer is kept elsewhere and was not read
	CodeUnpack    = "unpack"     // a layer cannot be decompressed
	CodeDiffID    = "diff-id"    // an uncompressed layer is not what the config says
	CodeTar       = "tar"        // a layer is no good tar, or has an unsafe path
	CodeTrailing  = "trailing"   // something follows the end of a layer's tar
	CodeDuplicate = "duplicate"  // a path is twice in a layer
	CodeHardLink  = "hard-link"  // a hard link leads nowhere, to a directory, or to a lower layer
	CodeTOC       = "toc"        // a table of contents is broken, or is not what the layer has
)

// A Finding is one thing that is wrong, or that was not looked at. Path and
// Text can have any characters.
type Finding struct {
	Severity Severity   `json:"severity"`
	Code     string     `json:"code"`
	Digest   oci.Digest `json:"digest"`             // of the manifest or blob that it is about
	Platform string     `json:"platform,omitempty"` // of the first image that it was found in
	Layer    int        `json:"layer,omitempty"`    // of that image, 1 the lowest; 0: not about a layer
	Path     string     `json:"path,omitempty"`     // in the layer, with a slash at its start
	Text     string     `json:"text"`
	at       int        // position of the manifest
}

// Options say how deep to look. The zero value checks everything.
type Options struct {
	// Fast asks only whether every blob is there with its size. Manifests and
	// configs are read and checked, layers are not.
	Fast bool
	// Limits bound what a layer may unpack to. Bytes is 64 GiB if it is 0, or
	// four times the packed size where that is more.
	Limits layer.Limits
	// Jobs is how many layers are read at a time; 0: as many as there are
	// processors, at least 2 and at most 8.
	Jobs int
	// Read, if set, is told how many bytes have been read so far: often, and by
	// several goroutines at a time, so that a smaller number can come later.
	Read func(n int64)
}

// Stats count what was checked, each thing once.
type Stats struct {
	Indexes   int   `json:"indexes"`
	Images    int   `json:"images"`
	Artifacts int   `json:"artifacts"` // attestations among them
	Layers    int   `json:"layers"`
	Bytes     int64 `json:"bytes"` // read, as they are kept
}

// Graph checks all that root leads to; the findings come in the order of the
// manifests. Each blob is read once, however many images share it, and memory
// does not grow with its size; the table of contents of a layer that has one is
// read again and compared with the layer. If root has a platform it is compared with the
// config. Whether the subject is there is asked, but it is not followed.
// Artifacts and attestations are checked by digest only, as are blobs that do
// not call themselves layers.
//
// ErrNotFound if root itself is not there; other errors as the source has them.
func Graph(ctx context.Context, src oci.Source, root oci.Descriptor, o Options) ([]Finding, Stats, error) {
	if o.Jobs <= 0 {
		o.Jobs = min(max(runtime.GOMAXPROCS(0), 2), 8)
	}
	c := &checker{src: src, o: o, seed: maphash.MakeSeed(), blobs: map[oci.Digest]*blob{}}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return c.walk(ctx, root) }, c.readImages, c.readBlobs,
	} {
		if err := step(ctx); err != nil {
			return nil, Stats{}, err
		}
	}
	c.compare()
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Text, b.Text))
	})
	c.stats.Bytes = c.read.Load()
	return c.findings, c.stats, nil
}

// Errors counts the findings that are errors.
func Errors(list []Finding) int {
	n := 0
	for _, f := range list {
		if f.Severity == Error {
			n++
		}
	}
	return n
}

// checker is one run.
type checker struct {
	src    oci.Source
	o      Options
	seed   maphash.Seed // of the names of layers
	kept   atomic.Int64 // names that layers keep
	read   atomic.Int64 // bytes
	tables sync.Mutex   // held by who has a table of contents in memory
	stats  Stats
	images []*image
	blobs  map[oci.Digest]*blob
	order  []*blob // by first mention

	mu       sync.Mutex
	findings []Finding
}

// A place is where a finding is made.
type place struct {
	at       int // position of the manifest
	digest   oci.Digest
	platform string
	layer    int
}

const (
	maxFindings = 10_000  // in all
	maxText     = 4 << 10 // bytes of a path or a text
	maxPerLayer = 100     // findings about the paths of one layer
)

func (c *checker) add(s Severity, code string, p place, path, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := len(c.findings); {
	case n > maxFindings:
		return
	case n == maxFindings:
		s, code, path, text = Error, CodeLimit, "", "there is more to find"
	}
	c.findings = append(c.findings, Finding{s, code, p.digest, p.platform, p.layer, cut(path), cut(text), p.at})
}

// count notes that bytes were read.
func (c *checker) count(n int) {
	if all := c.read.Add(int64(n)); c.o.Read != nil {
		c.o.Read(all)
	}
}

func cut(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "…"
	}
	return s
}

// fault makes a finding of an error that is about the content, with code if it
// breaks its format; every other error is returned.
func (c *checker) fault(p place, code string, err error) error {
	switch {
	case errors.Is(err, oci.ErrBusy), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, oci.ErrCorrupt):
		c.add(Error, CodeCorrupt, p, "", err.Error())
	case errors.Is(err, oci.ErrNotFound):
		c.add(Error, CodeMissing, p, "", err.Error())
	case errors.Is(err, oci.ErrInvalid):
		c.add(Error, code, p, "", err.Error())
	default:
		return err
	}
	return nil
}
