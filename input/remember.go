// SPDX-License-Identifier: Apache-2.0

package input

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// version changes when the same input becomes another layer for a reason that
// Packing.Key does not tell.
const version = "input-3"

// An outcome is the layer that an input became, and all that it became that
// for.
type outcome struct {
	How   string         `json:"how"`             // work.how
	Asked []layer.Answer `json:"asked,omitempty"` // of what it lies on, in order

	Digest      oci.Digest        `json:"digest"`
	Size        int64             `json:"size"`
	DiffID      oci.Digest        `json:"diffID"`
	MediaType   string            `json:"mediaType"`
	Annotations map[string]string `json:"annotations,omitempty"`
	AsIs        bool              `json:"asIs,omitempty"` // it is the input
	Entries     int               `json:"entries"`
	Kept        []string          `json:"kept,omitempty"`
	KeptCount   int               `json:"keptCount,omitempty"`
	Tops        []string          `json:"tops,omitempty"`
}

// fits reports whether a layer is the one that is wanted: all that was asked
// has to be answered as it was then.
func (o *outcome) fits(ctx context.Context, how string, ground layer.Ground) (bool, error) {
	if o.How != how || ground == nil && len(o.Asked) > 0 {
		return false, nil
	}
	for _, a := range o.Asked {
		place, err := ground.Dir(ctx, a.Dir)
		if err != nil || place != a.Place {
			return false, err
		}
	}
	return true, nil
}

func (o *outcome) descriptor(in *Input) oci.Descriptor {
	if in.layer != nil {
		d := in.layer.Descriptor()
		d.MediaType = oci.ToOCI(d.MediaType)
		if !oci.IsLayer(d.MediaType) {
			d.MediaType = o.MediaType
		}
		return d
	}
	return oci.Descriptor{MediaType: o.MediaType, Digest: o.Digest, Size: o.Size, Annotations: maps.Clone(o.Annotations)}
}

// A memory keeps outcomes: a file for each input, in a directory for each size,
// so that what has a size that nobody remembers need not be hashed first.
// Reading and writing never fail: what cannot be remembered is done again.
type memory struct{ dir string } // "": nothing is remembered

// A key is an input.
type key struct {
	digest oci.Digest
	size   int64
}

const (
	maxNote     = 4 << 20 // bytes of a file
	maxOutcomes = 16      // of an input
)

func (m memory) sizeDir(size int64) string { return filepath.Join(m.dir, strconv.FormatInt(size, 10)) }

func (m memory) path(k key) string {
	return filepath.Join(m.sizeDir(k.size), oci.FromBytes([]byte(k.digest)).Encoded())
}

// has reports whether something of a size is remembered.
func (m memory) has(size int64) bool {
	if m.dir == "" {
		return false
	}
	_, err := os.Stat(m.sizeDir(size))
	return err == nil
}

// largest is the size of the largest input that is remembered, 0 if none is.
func (m memory) largest() (most int64) {
	if m.dir == "" {
		return 0
	}
	list, err := os.ReadDir(m.dir)
	if err != nil {
		return 0
	}
	for _, e := range list {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil {
			most = max(most, n)
		}
	}
	return most
}

// read returns what is remembered of an input, as far as it makes sense.
func (m memory) read(k key) []outcome {
	if m.dir == "" {
		return nil
	}
	f, err := os.Open(m.path(k))
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxNote+1))
	if err != nil || len(raw) > maxNote {
		return nil
	}
	return parseNote(raw, k)
}

// A note is the content of a file.
type note struct {
	Input  oci.Digest `json:"input"`
	Layers []outcome  `json:"layers"` // the newest first
}

// parseNote leaves out what cannot be: anybody may have written the file.
func parseNote(raw []byte, k key) []outcome {
	var n note
	if json.Unmarshal(raw, &n) != nil || n.Input != k.digest || len(n.Layers) > maxOutcomes {
		return nil
	}
	return slices.DeleteFunc(n.Layers, func(o outcome) bool { return !o.sound(k) })
}

// sound also refuses names that JSON cannot hold.
func (o *outcome) sound(k key) bool {
	for _, d := range []oci.Digest{o.Digest, o.DiffID} {
		if _, err := oci.ParseDigest(string(d)); err != nil {
			return false
		}
	}
	for _, a := range o.Asked {
		if a.Place.There > layer.Blocked || !fs.ValidPath(a.Dir) || !fs.ValidPath(a.Place.Path) {
			return false
		}
	}
	if !layer.ValidTops(o.Tops) || len(o.Kept) > o.KeptCount || slices.ContainsFunc(o.Kept, func(dir string) bool { return !fs.ValidPath(dir) }) {
		return false
	}
	if !layer.PackedAnnotations(o.Annotations) || o.AsIs && (o.Digest != k.digest || o.Size != k.size) {
		return false
	}
	switch o.MediaType {
	case oci.MediaLayer, oci.MediaLayerGzip, oci.MediaLayerZstd:
		return o.Size > 0 && o.Entries >= 0
	}
	return false
}

func (m memory) forget(k key) {
	if m.dir != "" {
		os.Remove(m.path(k))
	}
}

// write adds an outcome to what is remembered, whole or not at all. Of two
// processes that do so at the same time, one may be forgotten.
func (m memory) write(k key, o outcome) {
	if m.dir == "" || !o.sound(k) {
		return
	}
	list := slices.DeleteFunc(m.read(k), func(old outcome) bool { return old.How == o.How && slices.Equal(old.Asked, o.Asked) })
	list = append([]outcome{o}, list...)
	raw := encodeNote(note{k.digest, list[:min(len(list), maxOutcomes)]})
	if raw == nil {
		return
	}
	_ = disk.Keep(m.path(k), func(w io.Writer) error { _, err := w.Write(raw); return err }) // else it is done again
}

// encodeNote drops the oldest outcomes until the file is small enough to be read
// again; nil if none is.
func encodeNote(n note) []byte {
	for ; len(n.Layers) > 0; n.Layers = n.Layers[:len(n.Layers)-1] {
		if raw, err := json.Marshal(n); err == nil && len(raw) <= maxNote {
			return raw
		}
	}
	return nil
}
