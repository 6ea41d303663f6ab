// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

// image puts a made-up image into a layout and returns its reference.
func image(t *testing.T, layers, size int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	store, err := layout.Open(dir, layout.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := ocitest.Image(7, layers, size).Push(t.Context(), store, "1"); err != nil {
		t.Fatal(err)
	}
	return "oci:" + dir + ":1"
}

// With a fifth of the requests failing in any way, on either side, a copy
// between distribution registries ends right.
func TestFaults(t *testing.T) {
	t.Parallel()
	a, b, src := distribution(t), distribution(t), image(t, 40, 64<<10)
	dray(t, "copy", src, a+"/many:1")
	want := dray(t, "digest", src)
	for i, c := range []struct{ from, to string }{
		{"503", ""}, {"429", ""}, {"cut", ""}, {"norange+cut", ""}, {"corrupt", ""}, {"", "503"}, {"", "429"}, {"", "put"}, {"cut", "put"}, {"503", "503"},
	} {
		t.Run(c.from+" "+c.to, func(t *testing.T) {
			t.Parallel()
			pa, pb := newProxy(t, a, c.from, 5), newProxy(t, b, c.to, 5)
			to := fmt.Sprintf("/copy%d:1", i)
			out := dray(t, "copy", pa.addr+"/many:1", pb.addr+to)
			if !strings.HasSuffix(out, want) || dray(t, "digest", b+to) != want {
				t.Errorf("copied %s, want %s", out, want)
			}
			if pa.faults.Load()+pb.faults.Load() == 0 {
				t.Error("no fault was injected")
			}
			// All of it is there: a copy out of it verifies every byte.
			dray(t, "copy", b+to, "oci:"+filepath.Join(t.TempDir(), "out")+":1")
		})
	}
}

// When every blob arrives wrong, nothing is tagged.
func TestCorruptSource(t *testing.T) {
	t.Parallel()
	a, b, src := distribution(t), distribution(t), image(t, 5, 64<<10)
	dray(t, "copy", src, a+"/many:1")
	p := newProxy(t, a, "corrupt", 1)
	for _, to := range []string{b + "/many:1", "oci:" + filepath.Join(t.TempDir(), "out") + ":1"} {
		_, errOut, err := try(t, drayBin, "copy", p.addr+"/many:1", to)
		if exitCode(err) != 5 {
			t.Errorf("%s: %v: %s", to, err, errOut)
		}
		if _, _, err := try(t, drayBin, "digest", to); exitCode(err) != 3 {
			t.Errorf("%s: something was tagged: %v", to, err)
		}
	}
}

// A copy of one large layer is killed ten times at random moments. Nothing is
// lost, and no more than 1.3 times the layer crosses the wire.
func TestKill(t *testing.T) {
	t.Parallel()
	const size = 256 << 20
	a, b := distribution(t), distribution(t)
	src := filepath.Join(t.TempDir(), "src")
	store, err := layout.Open(src, layout.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	big := largeImage(t, store, size)
	dray(t, "copy", "oci:"+src+":1", a+"/big:1")
	for name, to := range map[string]string{"registry": b + "/big:1", "layout": "oci:" + filepath.Join(t.TempDir(), "out") + ":1"} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, a, "", 5)
			q := newProxy(t, b, "", 5)
			to := strings.Replace(to, b, q.addr, 1)
			for range 10 {
				killed(t, p, size/12, drayBin, "copy", "-q", p.addr+"/big:1", to)
				if out, _, err := try(t, drayBin, "digest", to); err == nil && out != "" {
					t.Log("it was done before it was killed")
				}
			}
			if out := dray(t, "copy", p.addr+"/big:1", to); !strings.HasSuffix(out, string(big)) {
				t.Errorf("copied %s, want %s", out, big)
			}
			if got := float64(p.blobs.Load()) / size; got > 1.3 {
				t.Errorf("%.2f times the layer came from the source", got)
			}
			if got := float64(q.in.Load()) / size; got > 1.3 {
				t.Errorf("%.2f times the layer went to the destination", got)
			}
			dray(t, "copy", to, "oci:"+filepath.Join(t.TempDir(), "check")+":1")
		})
	}
}

// largeImage stores an image with one layer of random bytes.
func largeImage(t *testing.T, s oci.Store, size int64) oci.Digest {
	t.Helper()
	raw := make([]byte, size)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	layer, config := oci.Bytes(oci.MediaLayer, raw), oci.Bytes(oci.MediaConfig, []byte(`{"os":"linux","architecture":"amd64"}`))
	for _, b := range []oci.Blob{layer, config} {
		if _, err := s.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	m := oci.Bytes(oci.MediaManifest, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oci.MediaManifest, oci.MediaConfig, config.Descriptor().Digest, config.Descriptor().Size, oci.MediaLayer, layer.Descriptor().Digest, size))
	if err := oci.Publish(t.Context(), s, m, "1"); err != nil {
		t.Fatal(err)
	}
	return m.Descriptor().Digest
}

// killed starts a command and kills it after about so many bytes more have
// passed, at a random point; or waits for its end, if that comes first.
func killed(t *testing.T, p *proxy, bytes int64, name string, args ...string) {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(bytes))
	if err != nil {
		t.Fatal(err)
	}
	limit := p.blobs.Load() + n.Int64()
	cmd := exec.Command(name, args...)
	cmd.Env = env(t)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for p.blobs.Load() < limit {
		select {
		case <-ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
	_ = cmd.Process.Kill()
	<-ended
}
