// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// An imageDoc is what these tests read and write of manifests and configs.
type descriptorDoc struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifestDoc struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Config        *descriptorDoc  `json:"config,omitempty"`
	Layers        []descriptorDoc `json:"layers,omitempty"`
	Manifests     []descriptorDoc `json:"manifests,omitempty"`
}

type historyDoc struct {
	Created   string `json:"created,omitempty"`
	CreatedBy string `json:"created_by"`
	Empty     bool   `json:"empty_layer,omitempty"`
}

type configDoc struct {
	Architecture string         `json:"architecture"`
	Variant      string         `json:"variant,omitempty"`
	OS           string         `json:"os"`
	OSVersion    string         `json:"os.version,omitempty"`
	Author       string         `json:"author,omitempty"`
	Config       map[string]any `json:"config"`
	RootFS       rootDoc        `json:"rootfs"`
	History      []historyDoc   `json:"history,omitempty"`
}

type rootDoc struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// A picture is an image as these tests compare it.
type picture struct {
	configDoc
	layers []descriptorDoc
	tree   tree
}

// reads finds a blob by its digest.
type reads func(digest string) ([]byte, error)

// inDir reads a directory of skopeo's dir form, inLayout an OCI layout.
func inDir(dir string) reads {
	return func(digest string) ([]byte, error) {
		return os.ReadFile(filepath.Join(dir, strings.TrimPrefix(digest, "sha256:")))
	}
}

func inLayout(dir string) reads {
	return func(digest string) ([]byte, error) {
		return os.ReadFile(filepath.Join(dir, "blobs", strings.Replace(digest, ":", string(filepath.Separator), 1)))
	}
}

// readDir reads the image of a directory.
func readDir(dir string) (*picture, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return nil, err
	}
	return draw(raw, inDir(dir))
}

// readLayout reads the images of a layout that has one name, by platform.
func readLayout(dir string) (map[string]*picture, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	out := map[string]*picture{}
	return out, gather(raw, inLayout(dir), out)
}

func gather(raw []byte, read reads, out map[string]*picture) error {
	var m manifestDoc
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	if m.Config != nil && !strings.Contains(m.Config.MediaType, "image") {
		return nil // a document about an image
	}
	if m.Config != nil {
		p, err := draw(raw, read)
		if err == nil {
			out[p.platform()] = p
		}
		return err
	}
	for _, d := range m.Manifests {
		raw, err := read(d.Digest)
		if err == nil {
			err = gather(raw, read, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *picture) platform() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	if p.OSVersion != "" {
		s += ":" + p.OSVersion
	}
	return s
}

// draw reads an image whole: each layer has to be what the config says.
func draw(raw []byte, read reads) (*picture, error) {
	var m manifestDoc
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	data, err := read(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	p := &picture{tree: tree{}, layers: m.Layers}
	if err := json.Unmarshal(data, &p.configDoc); err != nil {
		return nil, err
	}
	if len(p.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("%d layers, and %d diff IDs", len(m.Layers), len(p.RootFS.DiffIDs))
	}
	for i, d := range m.Layers {
		data, err := read(d.Digest)
		if err != nil {
			if strings.Contains(d.MediaType, "foreign") || strings.Contains(d.MediaType, "nondistributable") {
				continue // nobody has to have it
			}
			return nil, err
		}
		plain, err := unpacked(data)
		if err != nil {
			return nil, err
		}
		if sum := "sha256:" + hash(plain); sum != p.RootFS.DiffIDs[i] {
			return nil, fmt.Errorf("layer %d is %s, the config says %s", i, sum, p.RootFS.DiffIDs[i])
		}
		if err := p.tree.apply(i, bytes.NewReader(plain)); err != nil {
			return nil, err
		}
	}
	p.tree.join()
	return p, nil
}

func (p *picture) checkHistory() error {
	full := 0
	for _, h := range p.History {
		if !h.Empty {
			full++
		}
	}
	if len(p.History) > 0 && full != len(p.layers) {
		return fmt.Errorf("history has %d lines with a layer, there are %d layers", full, len(p.layers))
	}
	return nil
}

func unpacked(data []byte) ([]byte, error) {
	if len(data) < 2 || data[0] != 0x1f || data[1] != 0x8b {
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// notCompared are members of Docker's configs that say where an image was built, and
// one that means something on Windows alone.
var notCompared = []string{"ArgsEscaped", "Hostname", "Domainname", "Image", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"}

// members are those of a config as JSON; empty ones are as if they were absent.
func (p *picture) members() map[string]string {
	out := map[string]string{"os": p.OS, "architecture": p.Architecture, "variant": p.Variant, "os.version": p.OSVersion, "author": p.Author}
	for k, v := range p.Config {
		raw, _ := json.Marshal(v)
		switch s := string(raw); {
		case slices.Contains(notCompared, k), s == "null", s == "[]", s == "{}", s == `""`, s == "false":
		default:
			out[k] = s
		}
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// configChanges lists the members that are not as below, one a line.
func (p *picture) configChanges(below *picture) string {
	was, is := below.members(), p.members()
	var lines []string
	for k, v := range is {
		if was[k] != v {
			lines = append(lines, k+" "+v)
		}
	}
	for k := range was {
		if _, ok := is[k]; !ok {
			lines = append(lines, k+" -")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// An imageSpec is an image that a test makes.
type imageSpec struct {
	platform map[string]string
	config   string // the member config, as JSON
	layers   []string
	history  bool
	oci      bool
}

// tops are the names at the top of a list, as lines of history mention them.
func tops(list string) string {
	var names []string
	for line := range strings.Lines(list) {
		top, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if top, _, _ = strings.Cut(top, "/"); top != "" && !slices.Contains(names, top) {
			names = append(names, top)
		}
	}
	return strings.Join(names, " ")
}

// baseTime is what files of bases, and those of contexts, say.
var baseTime = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// writeLayout writes images into a layout, as an index if there are several.
func writeLayout(t *testing.T, dir string, probe []byte, specs ...imageSpec) {
	t.Helper()
	w := &layoutWriter{dir: dir, probe: probe}
	var all []descriptorDoc
	for _, s := range specs {
		all = append(all, w.image(s))
	}
	if len(all) > 1 {
		all = []descriptorDoc{w.json("application/vnd.oci.image.index.v1+json", manifestDoc{SchemaVersion: 2, MediaType: "application/vnd.oci.image.index.v1+json", Manifests: all})}
	}
	all[0].Annotations = map[string]string{"org.opencontainers.image.ref.name": "1"}
	index, err := json.Marshal(manifestDoc{SchemaVersion: 2, MediaType: "application/vnd.oci.image.index.v1+json", Manifests: all})
	for name, data := range map[string][]byte{"index.json": index, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	if err := errors.Join(err, w.err); err != nil {
		t.Fatal(err)
	}
}

type layoutWriter struct {
	dir   string
	probe []byte
	err   error
}

func (w *layoutWriter) blob(mediaType string, data []byte) descriptorDoc {
	dir := filepath.Join(w.dir, "blobs", "sha256")
	w.err = errors.Join(w.err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, hash(data)), data, 0o644))
	return descriptorDoc{MediaType: mediaType, Digest: "sha256:" + hash(data), Size: len(data)}
}

func (w *layoutWriter) json(mediaType string, v any) descriptorDoc {
	data, err := json.Marshal(v)
	w.err = errors.Join(w.err, err)
	return w.blob(mediaType, data)
}

func (w *layoutWriter) image(s imageSpec) descriptorDoc {
	types := []string{"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip"}
	if s.oci {
		types = []string{"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"}
	}
	c := configDoc{OS: s.platform["os"], Architecture: s.platform["architecture"], OSVersion: s.platform["os.version"], RootFS: rootDoc{Type: "layers", DiffIDs: []string{}}}
	w.err = errors.Join(w.err, json.Unmarshal([]byte(s.config), &c.Config))
	m := manifestDoc{SchemaVersion: 2, MediaType: types[0], Layers: []descriptorDoc{}}
	created := baseTime.Format(time.RFC3339)
	for i, list := range s.layers {
		plain, err := pack(list, w.probe, baseTime)
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, werr := z.Write(plain)
		w.err = errors.Join(w.err, err, werr, z.Close())
		m.Layers = append(m.Layers, w.blob(types[2], buf.Bytes()))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, "sha256:"+hash(plain))
		if s.history {
			c.History = append(c.History, historyDoc{Created: created, CreatedBy: fmt.Sprintf("base %d: %s", i, tops(list))})
		}
	}
	if s.history {
		c.History = append(c.History, historyDoc{Created: created, CreatedBy: "config", Empty: true})
	}
	conf := w.json(types[1], c)
	m.Config = &conf
	d := w.json(m.MediaType, m)
	d.Platform = s.platform
	return d
}
