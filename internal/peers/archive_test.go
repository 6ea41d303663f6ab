// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/archive"
	"github.com/dray-tools/dray/store/layout"
)

// An app is the demo's index in a layout, and its image for this machine.
type app struct {
	ref   string // of the index
	store oci.Store
	index oci.Descriptor
	image oci.Descriptor
}

func demo(t *testing.T) app {
	t.Helper()
	ref := hello(t)
	dir := strings.TrimSuffix(strings.TrimPrefix(ref, "oci:"), ":1.0")
	l, err := layout.Open(dir, layout.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	a := app{ref: ref, store: l, index: resolve(t, l, "1.0")}
	m, err := oci.Fetch(t.Context(), l, a.index)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		if d.Platform != nil && oci.MatchPlatform(oci.Platform{OS: "linux", Architecture: runtime.GOARCH}, *d.Platform) {
			a.image = d
		}
	}
	return a
}

func opened(t *testing.T, path string, o archive.Options) *archive.Archive {
	t.Helper()
	a, err := archive.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func resolve(t *testing.T, s oci.Source, name string) oci.Descriptor {
	t.Helper()
	d, err := s.Resolve(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fill copies a graph into an archive under the names.
func fill(ctx context.Context, to *archive.Archive, from oci.Source, root oci.Descriptor, names ...string) error {
	tree, err := oci.Graph{Root: root, Source: from}.Load(ctx, nil)
	if err != nil {
		return err
	}
	for _, d := range tree.Blobs {
		if _, err := to.Put(ctx, oci.From(from, d)); err != nil {
			return err
		}
	}
	for _, m := range tree.Manifests {
		if _, err := to.Put(ctx, m.Blob()); err != nil {
			return err
		}
	}
	if err := to.Publish(ctx, tree.Root().Blob(), names...); err != nil {
		return err
	}
	return to.Commit(ctx)
}

func mustFill(t *testing.T, to *archive.Archive, from oci.Source, root oci.Descriptor, names ...string) {
	t.Helper()
	if err := fill(t.Context(), to, from, root, names...); err != nil {
		t.Fatal(err)
	}
}

// readAll reads and so verifies all that root leads to, and returns the
// digest of the image's config.
func readAll(t *testing.T, from oci.Source, root oci.Descriptor) (config oci.Digest) {
	t.Helper()
	tree, err := oci.Graph{Root: root, Source: from}.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range tree.Blobs {
		r, err := from.Open(t.Context(), d)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			_ = r.Close()
		}
		if err != nil {
			t.Errorf("read %s: %v", d.Digest, err)
		}
	}
	if c := tree.Manifests[0].Config; c != nil {
		config = c.Digest
	}
	return config
}

// A Docker engine loads and runs what dray wrote, from a file and from a pipe,
// and dray reads what the engine saves.
func TestDockerArchive(t *testing.T) {
	t.Parallel()
	docker, src := engine(t), demo(t)
	file := filepath.Join(t.TempDir(), "hello.tar")
	for _, tag := range []string{"hello:1", "ghcr.io/team/hello:2"} { // one after the other into one archive
		mustFill(t, opened(t, file, archive.Options{Kind: archive.Docker, Write: true}), src.store, src.image, tag)
	}
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"file", func() { docker("load", "-q", "-i", file) }},
		{"pipe", func() {
			pipe := filepath.Join(t.TempDir(), "pipe")
			if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			wrote := make(chan error, 1)
			go func() {
				a, err := archive.Open(pipe, archive.Options{Kind: archive.Docker, Write: true})
				if err == nil {
					err = fill(t.Context(), a, src.store, src.image, "hello:1", "ghcr.io/team/hello:2")
					_ = a.Close()
				}
				wrote <- err
			}()
			docker("load", "-q", "-i", pipe)
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		}},
	} {
		c.run()
		for _, tag := range []string{"hello:1", "ghcr.io/team/hello:2"} {
			if out := docker("run", "--rm", "--network=none", tag, c.name); !strings.Contains(out, "hello, "+c.name+", from linux/") {
				t.Errorf("%s: docker run prints %q", c.name, out)
			}
		}
		if c.name == "file" {
			continue
		}
		saved := filepath.Join(t.TempDir(), "saved.tar")
		docker("tag", "hello:1", "other/name:3")
		docker("save", "-o", saved, "hello:1", "other/name:3", "ghcr.io/team/hello:2")
		a := opened(t, saved, archive.Options{Kind: archive.Docker})
		want := readAll(t, src.store, src.image)
		for _, name := range []string{"hello:1", "docker.io/library/hello:1", "other/name:3", "ghcr.io/team/hello:2", "@0", ""} {
			if got := readAll(t, a, resolve(t, a, name)); got != want {
				t.Errorf("%s: the config is %s, want %s", name, got, want)
			}
		}
		docker("image", "rm", "-f", "hello:1", "other/name:3", "ghcr.io/team/hello:2")
	}
}

// Two images that an engine saves are two images; what dray adds to them is
// loaded again.
func TestDockerSaveOfTwo(t *testing.T) {
	t.Parallel()
	docker, src := engine(t), demo(t)
	file := filepath.Join(t.TempDir(), "one.tar")
	mustFill(t, opened(t, file, archive.Options{Kind: archive.Docker, Write: true}), src.store, src.image, "hello:1")
	docker("load", "-q", "-i", file)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM hello:1\nCOPY Dockerfile /\nCOPY Dockerfile /again\nLABEL a=b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	docker("build", "-q", "-t", "hello:2", dir)
	saved := filepath.Join(dir, "two.tar")
	docker("save", "-o", saved, "hello:1", "hello:2")
	a := opened(t, saved, archive.Options{Kind: archive.Docker})
	one, two := resolve(t, a, "hello:1"), resolve(t, a, "hello:2")
	if id := docker("image", "inspect", "--format", "{{.Id}}", "hello:2"); id != string(readAll(t, a, two)) {
		t.Errorf("hello:2 has the config of %s", id)
	}
	readAll(t, a, one)
	docker("image", "rm", "-f", "hello:1", "hello:2")
	mustFill(t, opened(t, saved, archive.Options{Kind: archive.Docker, Write: true}), src.store, src.image, "hello:3")
	b := opened(t, saved, archive.Options{Kind: archive.Docker})
	if got := resolve(t, b, "hello:2"); got.Digest != two.Digest {
		t.Errorf("after an addition hello:2 is %s, was %s", got.Digest, two.Digest)
	}
	docker("load", "-q", "-i", saved)
	for _, tag := range []string{"hello:1", "hello:2", "hello:3"} {
		if out := docker("run", "--rm", "--network=none", tag, "you"); !strings.Contains(out, "hello, you, from linux/") {
			t.Errorf("%s: docker run prints %q", tag, out)
		}
	}
}

// skopeo reads what dray wrote, and dray what skopeo wrote, with the same
// digests where the format keeps them.
func TestSkopeoArchives(t *testing.T) {
	t.Parallel()
	skopeo, src, dir := need(t, "skopeo"), demo(t), t.TempDir()
	want := readAll(t, src.store, src.image)

	ours := filepath.Join(dir, "ours.tar")
	mustFill(t, opened(t, ours, archive.Options{Write: true}), src.store, src.image, "one")
	mustFill(t, opened(t, ours, archive.Options{Write: true}), src.store, src.index, "all")
	command(t, skopeo, "copy", "-q", "oci-archive:"+ours+":one", "oci:"+dir+"/one:x")
	command(t, skopeo, "copy", "-q", "--all", "oci-archive:"+ours+":all", "oci:"+dir+"/all:x")
	for name, d := range map[string]oci.Descriptor{"one": src.image, "all": src.index} {
		l, err := layout.Open(filepath.Join(dir, name), layout.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := resolve(t, l, "x"); got.Digest != d.Digest {
			t.Errorf("skopeo read %s from an OCI archive, want %s", got.Digest, d.Digest)
		}
	}
	theirs := filepath.Join(dir, "theirs.tar")
	command(t, skopeo, "copy", "-q", "--all", src.ref, "oci-archive:"+theirs+":any")
	a := opened(t, theirs, archive.Options{})
	if got := resolve(t, a, "any"); got.Digest != src.index.Digest {
		t.Errorf("skopeo wrote %s to an OCI archive, dray reads %s", src.index.Digest, got.Digest)
	}
	readAll(t, a, src.index)

	docker := filepath.Join(dir, "docker.tar")
	mustFill(t, opened(t, docker, archive.Options{Kind: archive.Docker, Write: true}), src.store, src.image, "hello:1", "ghcr.io/a/hello:2")
	for n, ref := range []string{":hello:1", ":docker.io/library/hello:1", ":ghcr.io/a/hello:2", ":@0"} {
		out := filepath.Join(dir, "back"+string(rune('0'+n))+".tar")
		command(t, skopeo, "copy", "-q", "docker-archive:"+docker+ref, "docker-archive:"+out+":x/y:1")
		for _, packed := range []string{out, gz(t, out)} {
			a := opened(t, packed, archive.Options{Kind: archive.Docker})
			for _, name := range []string{"x/y:1", "docker.io/x/y:1", ""} {
				if got := readAll(t, a, resolve(t, a, name)); got != want {
					t.Errorf("%s: the config is %s, want %s", name, got, want)
				}
			}
		}
	}
}

func gz(t *testing.T, file string) string {
	t.Helper()
	command(t, need(t, "gzip"), "-k", "-1", file)
	return file + ".gz"
}

// crane pushes what dray wrote, and dray reads what crane pulls.
func TestCraneArchives(t *testing.T) {
	t.Parallel()
	crane, src, dir := need(t, "crane"), demo(t), t.TempDir()
	want := readAll(t, src.store, src.image)
	registry := served(t)
	file := filepath.Join(dir, "ours.tar")
	mustFill(t, opened(t, file, archive.Options{Kind: archive.Docker, Write: true}), src.store, src.image, registry+"/a/hello:1")
	command(t, crane, "--insecure", "push", file, registry+"/a/hello:1")
	command(t, crane, "validate", "--tarball", file)
	for _, format := range []string{"tarball", "legacy"} {
		theirs := filepath.Join(dir, format+".tar")
		command(t, crane, "--insecure", "pull", "--format", format, registry+"/a/hello:1", theirs)
		a := opened(t, theirs, archive.Options{Kind: archive.Docker})
		root := resolve(t, a, registry+"/a/hello:1")
		got := readAll(t, a, root)
		if format == "tarball" && got != want {
			t.Errorf("%s: the config is %s, want %s", format, got, want)
		}
		if format != "tarball" { // which packs the layers anew
			continue
		}
		pushed, err := oci.ParseManifest("", []byte(command(t, crane, "--insecure", "manifest", registry+"/a/hello:1")))
		if err != nil {
			t.Fatal(err)
		}
		pulled, err := oci.Fetch(t.Context(), a, root)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range pushed.Layers {
			if pulled.Layers[i].Digest != d.Digest || pulled.Layers[i].Size != d.Size || pulled.Layers[i].MediaType != d.MediaType {
				t.Errorf("crane pushed layer %+v, dray reads %+v of what it pulls", d, pulled.Layers[i])
			}
		}
	}
}
