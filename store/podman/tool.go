// SPDX-License-Identifier: Apache-2.0

package podman

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/dir"
)

// A tool is the program that knows the storage.
type tool struct {
	path   string
	skopeo bool // else podman
}

// findTool prefers skopeo. Podman would give an image from a directory a name
// of its own, so that it only reads.
func findTool(look func(string) (string, error), write bool) (tool, error) {
	if path, err := look("skopeo"); err == nil {
		return tool{path, true}, nil
	}
	path, err := look("podman")
	switch {
	case err != nil && write:
		return tool{}, oci.Errorf(oci.ErrUnsupported, "containers-storage: is written through skopeo, which is not installed")
	case err != nil:
		return tool{}, oci.Errorf(oci.ErrUnsupported, "containers-storage: is read through skopeo or podman, and neither is installed: install skopeo")
	case write:
		return tool{}, oci.Errorf(oci.ErrUnsupported, "containers-storage: is written through skopeo, which is not installed; podman alone can only be read from")
	}
	return tool{path, false}, nil
}

// read has the image written to a directory. The tools do not tell why they
// fail but in words, and most often there is no such image.
func (t tool) read(ctx context.Context, image, path string) error {
	args := []string{"--insecure-policy", "copy", "--quiet", "--remove-signatures", image, "dir:" + path}
	if !t.skopeo {
		args = []string{"push", "--quiet", "--remove-signatures", strings.TrimPrefix(image, "containers-storage:"), "dir:" + path}
	}
	_, err := t.run(ctx, oci.ErrNotFound, args...)
	return err
}

// write has the image read from a directory. The policy says which images the
// user trusts; this one the user has at hand.
func (t tool) write(ctx context.Context, path, image string) error {
	_, err := t.run(ctx, oci.ErrInvalid, "--insecure-policy", "copy", "--quiet", "dir:"+path, image)
	return err
}

// manifest is the one that the storage keeps of an image.
func (t tool) manifest(ctx context.Context, image string) ([]byte, error) {
	return t.run(ctx, oci.ErrNotFound, "--insecure-policy", "inspect", "--raw", image)
}

// run runs the tool and returns what it prints. If it fails the error is of
// that kind and has the last thing that it said.
func (t tool) run(ctx context.Context, kind error, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.WaitDelay = 5 * time.Second // it may have started itself again in a user namespace
	out, said := &head{max: oci.MaxManifest + 1}, &tail{}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, oci.Errorf(kind, "%s: %w: %s", filepath.Base(t.path), err, oci.Quote(said.message()))
	}
	return out.Bytes(), nil
}

// A head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	max int
}

func (h *head) Write(p []byte) (int, error) {
	_, _ = h.Buffer.Write(p[:min(len(p), h.max-h.Len())])
	return len(p), nil
}

// maxSaid is how much is kept of what the tool says.
const maxSaid = 8 << 10

// A tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-maxSaid):]...)
	t.b = t.b[max(0, len(t.b)-maxSaid):]
	return len(p), nil
}

// message is the last line, without the frame of a log.
func (t *tail) message() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	last := lines[len(lines)-1]
	if _, msg, ok := strings.Cut(last, " msg="); ok {
		if q, err := strconv.QuotedPrefix(msg); err == nil {
			if text, err := strconv.Unquote(q); err == nil {
				return text
			}
		}
	}
	return last
}

// tellPlain repairs what skopeo says of layers: it writes them plain and calls
// them gzip (seen with 1.9.3). A layer whose digest is its diff ID is not
// packed.
func tellPlain(ctx context.Context, path string) error {
	d, err := dir.Open(path, dir.Options{})
	if err != nil {
		return err
	}
	root, err := d.Resolve(ctx, "")
	if err != nil {
		return err
	}
	m, err := oci.Fetch(ctx, d, root)
	if err != nil || m.IsIndex() || m.Config == nil || !oci.IsConfig(m.Config.MediaType) {
		return err
	}
	raw, err := oci.ReadAll(ctx, d, *m.Config, oci.MaxConfig)
	if err != nil {
		return err
	}
	var config v1.Image
	if err := json.Unmarshal(raw, &config); err != nil || len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil // whoever needs the config will say so
	}
	var next v1.Manifest
	if err := json.Unmarshal(m.Raw, &next); err != nil {
		return oci.Errorf(oci.ErrInvalid, "%w", err)
	}
	changed := false
	plain := map[string]string{oci.MediaLayerGzip: oci.MediaLayer, oci.MediaLayerZstd: oci.MediaLayer, oci.MediaDockerLayer: oci.MediaDockerPlain}
	for n := range next.Layers {
		l := &next.Layers[n]
		if to, ok := plain[l.MediaType]; ok && l.Digest == config.RootFS.DiffIDs[n] {
			l.MediaType, changed = to, true
		}
	}
	if !changed {
		return nil
	}
	if raw, err = json.Marshal(next); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(path, "manifest.json"), raw, 0o600)
}
