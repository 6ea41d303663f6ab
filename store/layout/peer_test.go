// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

// peer runs another tool.
func peer(t *testing.T, tool string, args ...string) string {
	t.Helper()
	_, err := exec.LookPath(tool)
	require(t, err == nil, tool)
	var msg strings.Builder
	c := exec.CommandContext(t.Context(), tool, args...)
	c.Stderr = &msg
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", tool, args, err, msg.String())
	}
	return strings.TrimSpace(string(out))
}

func index() ocitest.Fixture { return ocitest.Index(1, "linux/amd64", "linux/arm64") }

// What this package writes is copied by other tools, and what they write is
// read here, with the same digest.
func TestPeersCopyLayouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		copy func(t *testing.T, from, to, tag string)
	}{
		{"skopeo", func(t *testing.T, from, to, tag string) {
			peer(t, "skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-oci-accept-uncompressed-layers", "--insecure-policy", "oci:"+from+":"+tag, "oci:"+to+":"+tag)
		}},
		{"regctl", func(t *testing.T, from, to, tag string) {
			peer(t, "regctl", "image", "copy", "ocidir://"+from+":"+tag, "ocidir://"+to+":"+tag)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
			f, g := index(), ocitest.Image(5, 2, 1000)
			l := open(t, from, layout.Options{Create: true})
			push(t, l, f, "many")
			push(t, l, g, "one", "other")
			c.copy(t, from, to, "many")
			c.copy(t, from, to, "one")
			back := open(t, to, layout.Options{})
			for name, want := range map[string]oci.Descriptor{"many": f.Root, "one": g.Root} {
				wantResolve(t, back, name, want)
				wantGraph(t, back, want)
			}
			// Both go on with what the other has written.
			push(t, back, ocitest.Image(6, 1, 10), "three")
			c.copy(t, from, to, "other")
			c.copy(t, to, filepath.Join(dir, "again"), "three")
			for name, want := range map[string]oci.Descriptor{"many": f.Root, "one": g.Root, "other": g.Root, "three": ocitest.Image(6, 1, 10).Root} {
				wantResolve(t, open(t, to, layout.Options{}), name, want)
			}
			wantResolve(t, open(t, filepath.Join(dir, "again"), layout.Options{}), "three", ocitest.Image(6, 1, 10).Root)
			r, err := layout.GC(t.Context(), to, layout.GCOptions{Grace: -1})
			if err != nil || len(r.Removed) != 0 {
				t.Errorf("gc: %+v, %v", r, err)
			}
		})
	}
}

func TestPeersInspectLayouts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	f, g := index(), ocitest.Image(5, 2, 1000)
	push(t, l, f, "many")
	push(t, l, g, "one")
	t.Run("skopeo", func(t *testing.T) {
		if out := peer(t, "skopeo", "inspect", "--raw", "oci:"+dir+":many"); out != string(read(t, blobFile(dir, f.Root.Digest))) {
			t.Errorf("got %s", out)
		}
	})
	t.Run("regctl", func(t *testing.T) {
		if out := peer(t, "regctl", "manifest", "head", "ocidir://"+dir+":one"); out != string(g.Root.Digest) {
			t.Errorf("got %s", out)
		}
		if out := peer(t, "regctl", "tag", "ls", "ocidir://"+dir); out != "many\none" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("crane", func(t *testing.T) {
		if out := peer(t, "crane", "index", "list", dir); !strings.Contains(out, string(g.Root.Digest)) {
			t.Errorf("got %q", out)
		}
	})
}

// crane moves layouts only to and from a registry; it has one.
func TestPeersCraneLayouts(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("crane")
	require(t, err == nil, "crane")
	server := exec.CommandContext(t.Context(), "crane", "registry", "serve", "--address", "127.0.0.1:0")
	log, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait() //nolint:errcheck // it is killed
	defer server.Process.Kill()
	line, err := bufio.NewReader(log).ReadString('\n') // "serving on port 12345"
	_, port, ok := strings.Cut(strings.TrimSpace(line), "port ")
	if !ok || err != nil {
		t.Fatalf("crane registry serve says %q, %v", line, err)
	}
	dir := t.TempDir()
	image, index := ocitest.Image(5, 2, 1000), index()
	to := filepath.Join(dir, "to")
	for tag, f := range map[string]ocitest.Fixture{"one": image, "many": index} {
		from, name := filepath.Join(dir, tag), "127.0.0.1:"+port+"/x:"+tag
		push(t, open(t, from, layout.Options{Create: true}), f, tag)
		peer(t, "skopeo", "copy", "-q", "--all", "--preserve-digests", "--insecure-policy", "--dest-tls-verify=false", "oci:"+from+":"+tag, "docker://"+name)
		if tag == "one" { // what crane can push of a layout is one image
			peer(t, "crane", "push", from, name)
		}
		for range 2 { // the second makes a duplicate
			peer(t, "crane", "pull", "--format", "oci", "--annotate-ref", name, to)
		}
	}
	l := open(t, to, layout.Options{})
	for tag, f := range map[string]ocitest.Fixture{"one": image, "many": index} {
		wantResolve(t, l, tag, f.Root)
		wantResolve(t, l, "127.0.0.1:"+port+"/x:"+tag, f.Root)
		wantGraph(t, l, f.Root)
		if err := l.Tag(t.Context(), "127.0.0.1:"+port+"/x:"+tag, f.Root); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(entries(t, to)); got != 2 {
		t.Errorf("index.json has %d entries", got)
	}
}

// Referrers are found on either side.
func TestPeersReferrers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	f := ocitest.Image(5, 2, 1000)
	push(t, l, f, "one")
	peer(t, "regctl", "artifact", "put", "--artifact-type", "application/x.note", "--subject", "ocidir://"+dir+":one", "--file", filepath.Join(dir, "oci-layout"))
	a := ocitest.Artifact(1, "application/x.sig", &f.Root)
	push(t, l, a)
	got, err := collect(l.Referrers(t.Context(), f.Root, ""))
	if err != nil || len(got) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = collect(l.Referrers(t.Context(), f.Root, "application/x.note")); err != nil || len(got) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	wantResolve(t, l, "", f.Root)
}
