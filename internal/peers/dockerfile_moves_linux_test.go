// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A five-version base for Windows whose images have 3 MB each, and a file of 2 MB
// that is copied: no byte of a layer of the base is moved in any direction, and the
// file is packed and sent once for all five.
func TestDockerfileOfWindowsMovesNoBase(t *testing.T) {
	t.Parallel()
	p := newProxy(t, distribution(t), "", 1)
	dir := t.TempDir()
	var specs []imageSpec
	for _, v := range windowsVersions {
		specs = append(specs, imageSpec{platform: windows(v), config: `{"User":"ContainerUser"}`, history: true, oci: true,
			layers: []string{"Files d 0755 0:0\nFiles/version f 0644 0:0 \"" + v + "\"\nFiles/big f 0644 0:0 @3000000\nHives d 0755 0:0"}})
	}
	writeLayout(t, filepath.Join(dir, "base"), nil, specs...)
	dray(t, "copy", "oci:"+filepath.Join(dir, "base")+":1", p.addr+"/win/base:1")
	data := make([]byte, 2<<20)
	r := rand.NewChaCha8([32]byte{})
	if _, err := r.Read(data); err != nil {
		t.Fatal(err)
	}
	context := filepath.Join(dir, "context")
	writeFile(t, filepath.Join(context, "app.exe"), data)
	writeFile(t, filepath.Join(context, "Dockerfile"), []byte("FROM "+p.addr+"/win/base:1\nCOPY app.exe C:/app/\nCMD app.exe\n"))

	blobs, in := p.blobs.Load(), p.in.Load()
	_, log, err := try(t, drayBin, "build", "-v", "dockerfile", context, "--sbom", "none", "--provenance=false", "-t", p.addr+"/win/app:1")
	if err != nil {
		t.Fatalf("%v: %s", err, log)
	}
	if n := p.blobs.Load() - blobs; n > 5*1000 { // the configs
		t.Errorf("%d bytes of blobs were read", n)
	}
	if n := p.in.Load() - in; n < 2<<20 || n > 2<<20+100_000 {
		t.Errorf("%d bytes were sent, the file has %d", n, 2<<20)
	}
	for what, want := range map[string]int{
		`method=GET \S+/win/base/manifests/`:                   6, // the index and its images
		`method=GET \S+/win/base/blobs/`:                       5, // their configs
		`method=(PUT|PATCH) \S+/win/app/blobs/uploads/`:        6, // configs, and the layer
		`method=POST \S+/win/app/blobs/uploads/\S* status=201`: 5, // layers of the base, mounted
		`method=PUT \S+/win/app/manifests/`:                    6,
	} {
		if n := len(regexp.MustCompile(what).FindAllString(log, -1)); n != want {
			t.Errorf("%d requests %s, want %d:\n%s", n, what, want, log)
		}
	}
	blobs, in = p.blobs.Load(), p.in.Load()
	_, log, err = try(t, drayBin, "build", "-v", "dockerfile", context, "--sbom", "none", "--provenance=false", "-t", p.addr+"/win/app:1")
	if n := strings.Count(log, "request method="); err != nil || n > 2 || p.blobs.Load() != blobs || p.in.Load() != in {
		t.Errorf("unchanged: %v, %d requests: %s", err, n, log)
	}
}

// A RUN that is needed is refused before the registry is asked anything; one that a
// base wants after its manifest and config, and nothing else, were read.
func TestDockerfileThatRunsPullsNothing(t *testing.T) {
	t.Parallel()
	registry, dir := distribution(t), t.TempDir()
	writeLayout(t, filepath.Join(dir, "base"), nil, bases()["onrun"][0])
	dray(t, "copy", "oci:"+filepath.Join(dir, "base")+":1", registry+"/onrun:1")
	for text, want := range map[string]int{
		"FROM " + registry + "/onrun:1 AS one\nCOPY Dockerfile /x\nRUN make\nFROM " + registry + "/onrun:1\nCOPY --from=one /x /y\n": 0,
		"FROM " + registry + "/onrun:1\nCOPY Dockerfile /x\n":                                                                        2,
	} {
		context := t.TempDir()
		writeFile(t, filepath.Join(context, "Dockerfile"), []byte(text))
		out, log, err := try(t, drayBin, "build", "-v", "dockerfile", context, "-t", registry+"/out:1")
		if exitCode(err) != 1 || out != "" || !strings.Contains(log, "RUN make") || !strings.Contains(log, "dray runs nothing in images") {
			t.Errorf("%v: %s", err, log)
		}
		if n := strings.Count(log, "request method="); n != want {
			t.Errorf("%d requests, want %d: %s", n, want, log)
		}
	}
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
