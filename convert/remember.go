// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// An outcome is what a layer has become. Source is the diff ID that it had,
// which packing does not change but for eStargz.
type outcome struct {
	Digest      oci.Digest        `json:"digest"`
	Size        int64             `json:"size"`
	Source      oci.Digest        `json:"source"`
	DiffID      oci.Digest        `json:"diffID"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A memory is where an outcome is kept: a file named by all that it depends on.
// Reading and writing never fail: what cannot be remembered is done again.
type memory struct {
	dir     string // "": nothing is remembered
	Input   oci.Digest
	Packing string // Packing.Key
}

func (c *Converter) memory(d oci.Descriptor) memory {
	if c.o.CacheDir == "" {
		return memory{}
	}
	return memory{filepath.Join(c.o.CacheDir, "packing"), d.Digest, c.o.Packing.Key()}
}

// A note is the content of the file.
type note struct {
	Input   oci.Digest `json:"input"`
	Packing string     `json:"packing"`
	outcome
}

func (m memory) path() string {
	return filepath.Join(m.dir, oci.FromBytes([]byte(string(m.Input)+"\n"+m.Packing)).Encoded())
}

// read returns nil if nothing is remembered, or nothing that makes sense.
func (m memory) read() *outcome {
	if m.dir == "" {
		return nil
	}
	f, err := os.Open(m.path())
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 64<<10))
	var n note
	if err != nil || json.Unmarshal(raw, &n) != nil || n.Input != m.Input || n.Packing != m.Packing || !n.sound() {
		return nil
	}
	return &n.outcome
}

// sound checks what comes from a file that anybody may have written.
func (o outcome) sound() bool {
	for _, d := range []oci.Digest{o.Digest, o.Source, o.DiffID} {
		if _, err := oci.ParseDigest(string(d)); err != nil {
			return false
		}
	}
	return layer.PackedAnnotations(o.Annotations) && o.Size >= 0 && (o.Source == o.DiffID || o.Annotations[layer.AnnotationTOC] != "")
}

func (m memory) forget() {
	if m.dir != "" {
		os.Remove(m.path())
	}
}

// write remembers an outcome, whole or not at all.
func (m memory) write(o *outcome) {
	if m.dir == "" {
		return
	}
	if raw, err := json.Marshal(note{m.Input, m.Packing, *o}); err == nil {
		_ = disk.Keep(m.path(), func(w io.Writer) error { _, err := w.Write(raw); return err }) // else it is done again
	}
}
