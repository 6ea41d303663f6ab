// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/dray-tools/dray"
)

// Metadata is what --metadata-file holds: for each build what was made, and what
// of it is where.
type metadata struct {
	Builds []metadataBuild `json:"builds"`
}

type metadataBuild struct {
	dray.BuiltImage
	Digest     string   `json:"digest"`
	References []string `json:"references,omitempty"` // REPOSITORY@DIGEST of each target
}

// saveMetadata writes what was built to a file, whole or not at all.
func saveMetadata(path string, b *dray.Built) error {
	var m metadata
	next := 0
	for _, i := range b.Builds {
		one := metadataBuild{BuiltImage: i, Digest: string(i.Root.Digest)}
		for range i.Targets {
			to := b.Images[next]
			next++
			if !to.Kept {
				one.References = append(one.References, resultLine(to.To, to.Digest))
			}
		}
		m.Builds = append(m.Builds, one)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return err
	}
	return writeWhole(path, out.Bytes())
}

// writeWhole writes a file, or leaves the one that is there. What is no ordinary
// file, as /dev/stdout, is written to.
func writeWhole(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, data, 0o644)
	}
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at // a link stays one
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".part*") // watchers know the name
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
