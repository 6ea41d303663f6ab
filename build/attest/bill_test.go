// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/attest"
	"github.com/dray-tools/dray/oci"
)

func TestBillGolden(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 5, 6, 7, 8, 9, 500, time.FixedZone("east", 3600))
	spdxDocs := attestAll(t, attest.Bill{Format: attest.SPDX, Version: "v1.0.0"}, index(t))
	for _, name := range []string{"app-linux-amd64.spdx.json", "app-index.spdx.json"} {
		golden(t, name, spdxDocs[name].Data)
	}
	cdxDocs := attestAll(t, attest.Bill{Format: attest.CycloneDX, Version: "v1.0.0", Created: at}, index(t))
	for _, name := range []string{"app-linux-amd64.cdx.json", "app-index.cdx.json"} {
		golden(t, name, cdxDocs[name].Data)
	}
}

// Each image has a document and the index has one; under tags as well if that is
// asked for.
func TestBillDocuments(t *testing.T) {
	t.Parallel()
	s := index(t)
	for _, c := range []struct{ format, mediaType, tagType, ext string }{
		{"spdx", "application/spdx+json", "text/spdx+json", ".spdx.json"},
		{"cyclonedx", "application/vnd.cyclonedx+json", "application/vnd.cyclonedx+json", ".cdx.json"},
	} {
		f, err := attest.ParseFormat(c.format)
		if err != nil {
			t.Fatal(err)
		}
		docs := attestAll(t, attest.Bill{Format: f, Tag: true}, s)
		if len(docs) != 8 {
			t.Errorf("%d documents", len(docs))
		}
		for name, about := range map[string]oci.Digest{"app-linux-amd64": digest("linux/amd64"), "app-linux-arm-v7": digest("linux/arm/v7"),
			"app-windows-amd64-10.0.20348.1": digest("windows/amd64:10.0.20348.1"), "app-index": digest("index")} {
			d, tagged := docs[name+c.ext], docs["sha256-"+about.Encoded()+".sbom"]
			if d.Subject.Digest != about || d.ArtifactType != c.mediaType || d.Tag != "" {
				t.Errorf("%s: %+v", name, d)
			}
			if tagged.Subject.Digest != about || tagged.ArtifactType != c.tagType || !bytes.Equal(tagged.Data, d.Data) || tagged.Name != "" {
				t.Errorf("%s under a tag: %+v", name, tagged)
			}
		}
		one := attestAll(t, attest.Bill{Format: f}, alone(image(t, "linux/arm/v7")))
		if len(one) != 1 || one["app-linux-arm-v7"+c.ext].Subject.Digest != digest("linux/arm/v7") {
			t.Errorf("about one image: %v", one)
		}
	}
}

// Known asks for documents only where there is something to say.
func TestBillKnown(t *testing.T) {
	t.Parallel()
	s := index(t)
	b := attest.Bill{Format: attest.SPDX, Known: true}
	if n := len(attestAll(t, b, s)); n != 4 {
		t.Errorf("%d documents", n)
	}
	s.Images[0].Components = nil
	if n := len(attestAll(t, b, s)); n != 4 {
		t.Errorf("%d documents where some components are known", n)
	}
	s.Images[1].Components, s.Images[2].Components = nil, nil
	if n := len(attestAll(t, b, s)); n != 0 {
		t.Errorf("%d documents where none is known", n)
	}
	if n := len(attestAll(t, attest.Bill{Format: attest.SPDX}, s)); n != 4 {
		t.Errorf("%d documents that were asked for", n)
	}
}

func TestBad_380_FormatOfBill(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "SPDX", "spdx ", "syft", "none", "cyclonedx-xml"} {
		if _, err := attest.ParseFormat(s); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "spdx and cyclonedx") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := (attest.Bill{Format: "syft"}).Attest(t.Context(), index(t)); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// The order in which builders list things means nothing.
func TestBillOrder(t *testing.T) {
	t.Parallel()
	for _, f := range []attest.Format{attest.SPDX, attest.CycloneDX} {
		want := attestAll(t, attest.Bill{Format: f}, index(t))
		for seed := range uint64(20) {
			r, s := rand.New(rand.NewPCG(seed, 0)), index(t)
			for n := range s.Images {
				c := s.Images[n].Components
				c = append(c, c[1]) // a library of two programs
				r.Shuffle(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] })
				for _, c := range c {
					r.Shuffle(len(c.Needs), func(i, j int) { c.Needs[i], c.Needs[j] = c.Needs[j], c.Needs[i] })
				}
				s.Images[n].Components = c
			}
			got := attestAll(t, attest.Bill{Format: f}, s)
			if !maps.EqualFunc(got, want, func(a, b build.Document) bool { return bytes.Equal(a.Data, b.Data) }) {
				t.Fatalf("%s, seed %d: other documents", f, seed)
			}
		}
	}
}

// Documents about different things have different names in the world.
func TestBillNamespace(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	other := index(t)
	other.Images[0].Components[1].Version = "v0.1.1"
	for _, s := range []build.Subject{index(t), other} {
		for name, d := range attestAll(t, attest.Bill{Format: attest.SPDX}, s) {
			id := readSPDX(t, d.Data).DocumentNamespace
			if old, ok := seen[id]; ok && (old != name || name == "app-linux-amd64.spdx.json") {
				t.Errorf("%s and %s are both %s", old, name, id)
			}
			seen[id] = name
		}
		for name, d := range attestAll(t, attest.Bill{Format: attest.CycloneDX}, s) {
			id := readCycloneDX(t, d.Data).SerialNumber
			if old, ok := seen[id]; ok && (old != name || name == "app-linux-amd64.cdx.json") {
				t.Errorf("%s and %s are both %s", old, name, id)
			}
			seen[id] = name
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d names", len(seen))
	}
}

func TestSPDXRelations(t *testing.T) {
	t.Parallel()
	docs := attestAll(t, attest.Bill{Format: attest.SPDX}, index(t))
	got := relations(t, docs["app-linux-amd64.spdx.json"].Data)
	want := []string{
		"DOCUMENT DESCRIBES app", "app CONTAINS " + string(digest("base layer")), "app CONTAINS " + string(digest("layer linux/amd64")),
		"app CONTAINS example.com/shop", "app DESCENDANT_OF base", "example.com/shop DEPENDS_ON example.com/a",
		"example.com/shop DEPENDS_ON example.com/b", "example.com/shop DEPENDS_ON stdlib",
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("image: got %q, want %q", got, want)
	}
	got = relations(t, docs["app-index.spdx.json"].Data)
	want = []string{"DOCUMENT DESCRIBES app", "app DESCENDANT_OF base", "app VARIANT_OF app", "app VARIANT_OF app", "app VARIANT_OF app"}
	if !slices.Equal(got, want) {
		t.Errorf("index: got %q, want %q", got, want)
	}
}

// relations are those of a document, by the names of packages.
func relations(t *testing.T, raw []byte) (all []string) {
	t.Helper()
	doc := readSPDX(t, raw)
	names := map[string]string{"DOCUMENT": "DOCUMENT"}
	for _, p := range doc.Packages {
		names[string(p.PackageSPDXIdentifier)] = p.PackageName
	}
	for _, r := range doc.Relationships {
		all = append(all, names[string(r.RefA.ElementRefID)]+" "+r.Relationship+" "+names[string(r.RefB.ElementRefID)])
	}
	slices.Sort(all)
	return all
}

// readSPDX reads a document and checks what the specification asks for (SPDX 2.3,
// chapters 6, 7 and 11).
func readSPDX(t testing.TB, raw []byte) *spdx.Document {
	t.Helper()
	doc, err := spdxjson.Read(bytes.NewReader(raw))
	if err == nil {
		err = spdxlib.ValidateDocument(doc)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	if doc.SPDXVersion != "SPDX-2.3" || doc.DataLicense != "CC0-1.0" || doc.SPDXIdentifier != "DOCUMENT" || doc.DocumentName == "" ||
		!regexp.MustCompile(`^https://[!-~]+$`).MatchString(doc.DocumentNamespace) || strings.Contains(doc.DocumentNamespace, "#") {
		t.Errorf("head of the document: %s", raw)
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", doc.CreationInfo.Created); err != nil || len(doc.CreationInfo.Creators) != 1 {
		t.Errorf("creation: %+v", doc.CreationInfo)
	}
	ids := map[string]bool{}
	for _, p := range doc.Packages {
		id := string(p.PackageSPDXIdentifier)
		if !regexp.MustCompile(`^[A-Za-z0-9.-]+$`).MatchString(id) || ids[id] {
			t.Errorf("id %q is no id, or is there twice", id)
		}
		ids[id] = true
		if p.PackageName == "" || p.PackageDownloadLocation == "" || p.FilesAnalyzed || !p.IsFilesAnalyzedTagPresent ||
			p.PackageLicenseConcluded == "" || p.PackageLicenseDeclared == "" || p.PackageCopyrightText == "" {
			t.Errorf("package: %+v", p)
		}
	}
	return doc
}

func readCycloneDX(t testing.TB, raw []byte) *cdx.BOM {
	t.Helper()
	var doc cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(raw), cdx.BOMFileFormatJSON).Decode(&doc); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	refs := map[string]bool{doc.Metadata.Component.BOMRef: true}
	if doc.Components != nil {
		for _, c := range *doc.Components {
			if c.BOMRef == "" || refs[c.BOMRef] {
				t.Errorf("reference %q is none, or is there twice", c.BOMRef)
			}
			refs[c.BOMRef] = true
		}
	}
	for _, d := range *doc.Dependencies {
		if !refs[d.Ref] {
			t.Errorf("dependencies of %q, which is not there", d.Ref)
		}
		if d.Dependencies != nil {
			for _, to := range *d.Dependencies {
				if !refs[to] {
					t.Errorf("%q depends on %q, which is not there", d.Ref, to)
				}
			}
		}
	}
	return &doc
}

// schema is the official one of CycloneDX, which comes with the library.
func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Skip("the go command does not say where the CycloneDX schema is")
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(schemas(filepath.Join(strings.TrimSpace(string(out)), "schema")))
	s, err := c.Compile("bom-1.7.schema.json")
	if err != nil {
		t.Skipf("the CycloneDX schema cannot be read: %v", err)
	}
	return s
}

// schemas is a directory that has them by the last element of their URLs.
type schemas string

func (dir schemas) Load(url string) (any, error) {
	name := filepath.Base(filepath.FromSlash(url))
	if name == "jsf-0.82.schema.json" { // the library keeps it under another name
		name = "jsf-0.82.schemax.json"
	}
	return jsonschema.FileLoader{}.Load("file://" + filepath.ToSlash(filepath.Join(string(dir), name)))
}

func TestCycloneDXSchema(t *testing.T) {
	t.Parallel()
	s := schema(t)
	for name, d := range attestAll(t, attest.Bill{Format: attest.CycloneDX, Created: time.Unix(1e9, 0)}, index(t)) {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.Data))
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		readCycloneDX(t, d.Data)
	}
	var broken any = map[string]any{"bomFormat": "CycloneDX", "specVersion": "1.7", "version": 0}
	if s.Validate(broken) == nil {
		t.Error("the schema takes anything")
	}
}

func TestLicences(t *testing.T) {
	t.Parallel()
	for text, valid := range map[string]bool{
		"MIT": true, "GPL-2.0-only WITH Classpath-exception-2.0": true, "(MIT OR Apache-2.0) AND BSD-3-Clause": true, "LicenseRef-x": true, "GPL-2.0+": true,
		"Apache 2": false, "http://example.com/licence": false, "MIT,BSD": false, "MIT and BSD": false, strings.Repeat("MIT OR ", 300) + "MIT": false,
	} {
		s := image(t, "linux/amd64")
		s.Components = []build.Component{{Name: "a", Path: "/a", License: text}}
		doc := readSPDX(t, attestAll(t, attest.Bill{Format: attest.SPDX}, alone(s))["app-linux-amd64.spdx.json"].Data)
		p := doc.Packages[len(doc.Packages)-1]
		if got := p.PackageLicenseDeclared == text && p.PackageLicenseComments == ""; got != valid {
			t.Errorf("%q: declared %q, comment %q", text, p.PackageLicenseDeclared, p.PackageLicenseComments)
		}
		if !valid && (p.PackageLicenseDeclared != "NOASSERTION" || p.PackageLicenseComments != text) {
			t.Errorf("%q: declared %q, comment %q", text, p.PackageLicenseDeclared, p.PackageLicenseComments)
		}
	}
}

// Nothing of the machine is in a document: neither paths nor credentials.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"example.com/shop/cmd/app": "app", "/home/jane/site": "site", `C:\work\site`: "site", ".": "image", "..": "image", "": "image", "/": "image",
		"./": "image", "a b": "a-b", "app_{os}": "app_-os", "Übung": "bung",
	} {
		s := image(t, "linux/amd64")
		s.Name = name
		d := attestAll(t, attest.Bill{Format: attest.SPDX}, alone(s))
		doc := d[want+"-linux-amd64.spdx.json"]
		if len(doc.Data) == 0 || bytes.Contains(doc.Data, []byte("jane")) {
			t.Errorf("%q: %v: %s", name, slices.Collect(maps.Keys(d)), doc.Data)
		}
	}
}

// Whatever strangers write into their modules and archives, documents are valid.
func FuzzBill(f *testing.F) {
	f.Add("example.com/a", "v1", "pkg:golang/example.com/a@v1", "MIT", "/a", "00", "b")
	f.Add("", "", "", "", "", "", "")
	f.Add("\xff\x00\n", "\u2028", "pkg:a/b@\xff", "(MIT", "\\", "zz", "\xff")
	f.Add("image", "image", "image", "NONE", "image", "image", "image")
	f.Fuzz(func(t *testing.T, name, version, purl, licence, path, sum, need string) {
		s := image(t, "linux/amd64")
		c := build.Component{Name: name, Version: version, PURL: purl, License: licence, Path: path, Needs: []string{need, name, purl},
			Hashes: map[string]string{"sha256": sum, "md5": sum}, Sums: map[string]string{"h1": sum}}
		s.Components = append(s.Components, c, build.Component{Name: need, Needs: []string{name}})
		for format, check := range map[attest.Format]func([]byte){
			attest.SPDX: func(b []byte) { readSPDX(t, b) }, attest.CycloneDX: func(b []byte) { readCycloneDX(t, b) }} {
			for _, d := range attestAll(t, attest.Bill{Format: format}, alone(s)) {
				if !json.Valid(d.Data) {
					t.Fatalf("no JSON: %s", d.Data)
				}
				check(d.Data)
			}
		}
	})
}
