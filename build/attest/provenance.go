// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// What provenance says of itself. BuildType leads to a page that says what the
// parameters mean.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	BuildType     = "https://github.com/dray-tools/dray/tree/main/build/attest#build-v1"
	BuilderID     = "https://github.com/dray-tools/dray"
	StatementMIME = "application/vnd.in-toto+json"
)

// Provenance is a build.Attestor that writes one document about an image or an
// index, which says how all of it came to be: an in-toto statement v1 with a
// predicate of SLSA v1. It is not signed.
type Provenance struct {
	Version string // of dray
}

// A Statement is provenance as it is written (in-toto attestation, statement v1;
// SLSA, provenance v1). It has no times: the same build gives the same bytes.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     struct {
		BuildDefinition struct {
			BuildType            string         `json:"buildType"`
			ExternalParameters   map[string]any `json:"externalParameters"`
			InternalParameters   map[string]any `json:"internalParameters,omitempty"`
			ResolvedDependencies []Resource     `json:"resolvedDependencies,omitempty"`
		} `json:"buildDefinition"`
		RunDetails struct {
			Builder struct {
				ID      string            `json:"id"`
				Version map[string]string `json:"version,omitempty"`
			} `json:"builder"`
		} `json:"runDetails"`
	} `json:"predicate"`
}

// A Resource is something that a statement is about, or that a build has used
// (in-toto attestation, ResourceDescriptor).
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations *Changed          `json:"annotations,omitempty"` // nil: there is nothing to say
}

// Changed is said of files that were changed since they had a digest, which now
// have none that is known.
type Changed struct {
	From map[string]string `json:"changedFrom"`
}

// Attest implements build.Attestor.
func (p Provenance) Attest(_ context.Context, s build.Subject) ([]build.Document, error) {
	st := Statement{Type: StatementType, PredicateType: PredicateType}
	var platforms []string
	for _, about := range subjects(s) {
		st.Subject = append(st.Subject, Resource{Name: imageURL(about), Digest: digestSet(about.Descriptor.Digest)})
		if !isIndex(about) {
			platforms = append(platforms, oci.FormatPlatform(about.Platform))
		}
	}
	st.Subject = append(st.Subject[len(st.Subject)-1:], st.Subject[:len(st.Subject)-1]...) // the root first
	def := &st.Predicate.BuildDefinition
	def.BuildType = BuildType
	def.ExternalParameters = map[string]any{"kind": cmp.Or(s.About.Type, "other")}
	if len(s.About.Parameters) > 0 {
		def.ExternalParameters["parameters"] = s.About.Parameters
	}
	def.InternalParameters = map[string]any{"platforms": platforms}
	def.ResolvedDependencies = inputs(s)
	st.Predicate.RunDetails.Builder.ID = BuilderID
	if p.Version != "" {
		st.Predicate.RunDetails.Builder.Version = map[string]string{"dray": p.Version}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(st); err != nil {
		return nil, err
	}
	return []build.Document{{Subject: s.Descriptor, ArtifactType: StatementMIME, Data: out.Bytes(), Name: fileName(s) + ".provenance.json",
		Annotations: map[string]string{"in-toto.io/predicate-type": PredicateType}}}, nil
}

// inputs are what a build was made of: bases, the source, materials, each once.
func inputs(s build.Subject) (all []Resource) {
	seen := map[string]bool{}
	add := func(r Resource) {
		key, _ := json.Marshal(r) // strings and maps of strings
		if !seen[string(key)] && (r.URI != "" || len(r.Digest) > 0 || r.Annotations != nil) {
			seen[string(key)] = true
			all = append(all, r)
		}
	}
	for _, i := range subjects(s) {
		if b := i.Base; b != nil {
			for _, d := range []oci.Digest{b.Index.Digest, b.Image.Digest} {
				add(Resource{Name: "base", URI: baseURL(b, d), Digest: digestSet(d)})
			}
		}
	}
	var rest []build.Material
	if s.About.Source != nil {
		rest = append(rest, *s.About.Source)
	}
	bases := len(all)
	for _, i := range subjects(s) {
		rest = append(rest, i.Materials...)
	}
	for _, m := range rest {
		r := Resource{Name: m.Name, URI: publicURI(m.URI), Digest: maps.Clone(m.Digest)}
		if m.Changed {
			r.Digest, r.Annotations = nil, &Changed{r.Digest}
		}
		add(r)
	}
	slices.SortStableFunc(all[bases:], func(a, b Resource) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.URI, b.URI)) })
	return all
}

// publicURI is a URI without what must not be told: credentials, signed queries,
// paths of this machine.
func publicURI(s string) string {
	_, rest, ok := strings.Cut(s, ":")
	if !ok || strings.HasPrefix(s, "file:") || len(rest) > 1 && strings.HasPrefix(rest, `\`) {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	if u.Host != "" {
		u.User = nil
		u.RawQuery = ""
	}
	return u.String()
}

// digestSet is a digest as in-toto writes it; nil of none.
func digestSet(d oci.Digest) map[string]string {
	if d == "" {
		return nil
	}
	return map[string]string{string(d.Algorithm()): d.Encoded()}
}
