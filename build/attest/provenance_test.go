// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build/attest"
	"github.com/dray-tools/dray/oci"
)

func TestProvenanceGolden(t *testing.T) {
	t.Parallel()
	p := attest.Provenance{Version: "v1.0.0"}
	docs := attestAll(t, p, index(t))
	if len(docs) != 1 {
		t.Errorf("%d documents", len(docs))
	}
	d := docs["app-index.provenance.json"]
	golden(t, "app-index.provenance.json", d.Data)
	if d.Subject.Digest != digest("index") || d.ArtifactType != "application/vnd.in-toto+json" || d.Annotations["in-toto.io/predicate-type"] != "https://slsa.dev/provenance/v1" {
		t.Errorf("%+v", d)
	}
	golden(t, "app-linux-amd64.provenance.json", attestAll(t, p, alone(image(t, "linux/amd64")))["app-linux-amd64.provenance.json"].Data)
}

// The statement names every image and all that went in, and nothing that is
// secret or of the machine.
func TestProvenance(t *testing.T) {
	t.Parallel()
	raw := attestAll(t, attest.Provenance{}, index(t))["app-index.provenance.json"].Data
	var st attest.Statement
	if err := json.Unmarshal(raw, &st); err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, s := range append(st.Subject, st.Predicate.BuildDefinition.ResolvedDependencies...) {
		for kind, v := range s.Digest {
			have[kind+":"+v] = true
		}
	}
	for _, word := range []string{"index", "linux/amd64", "linux/arm/v7", "windows/amd64:10.0.20348.1", "base index", "base linux/amd64", "base linux/arm/v7", "data"} {
		if !have[string(digest(word))] {
			t.Errorf("nothing says %s", word)
		}
	}
	if len(st.Subject) != 4 || len(st.Predicate.BuildDefinition.ResolvedDependencies) != 6 {
		t.Errorf("%d subjects, %d dependencies", len(st.Subject), len(st.Predicate.BuildDefinition.ResolvedDependencies))
	}
	for _, secret := range []string{"secret", "jane", "/home", "file:"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%q is told: %s", secret, raw)
		}
	}
}

// The commit of files that were changed is not theirs.
func TestProvenanceChanged(t *testing.T) {
	t.Parallel()
	s := image(t, "linux/amd64")
	s.About.Source.Changed = true
	raw := attestAll(t, attest.Provenance{}, alone(s))["app-linux-amd64.provenance.json"].Data
	want := `{"name":"source","uri":"git+https://git.example/shop","annotations":{"changedFrom":{"gitCommit":"` + strings.Repeat("a", 40) + `"}}}`
	if !bytes.Contains(raw, []byte(want)) {
		t.Errorf("%s", raw)
	}
}

// What was built on nothing has no base.
func TestProvenanceScratch(t *testing.T) {
	t.Parallel()
	s := image(t, "linux/amd64")
	s.Base.Image, s.Base.Index, s.Materials, s.About.Source = oci.Descriptor{}, oci.Descriptor{}, nil, nil
	raw := attestAll(t, attest.Provenance{}, alone(s))["app-linux-amd64.provenance.json"].Data
	if bytes.Contains(raw, []byte("resolvedDependencies")) {
		t.Errorf("%s", raw)
	}
}
