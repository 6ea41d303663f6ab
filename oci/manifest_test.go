// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

const hexA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// desc is a descriptor in JSON, with further members.
func desc(mediaType string, size any, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%v%s}`, mediaType, hexA, size, more)
}

func imageJSON(layers ...string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, desc(oci.MediaConfig, 2, ""), strings.Join(layers, ","))
}

type badManifest struct {
	name, mediaType, raw string
	want                 error // nil: must be accepted
	text                 string
}

func runBad(t *testing.T, list []badManifest) {
	t.Helper()
	for _, c := range list {
		m, err := oci.ParseManifest(c.mediaType, []byte(c.raw))
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), c.text) || strings.ContainsAny(err.Error(), "\x1b\n")) {
			t.Errorf("%s: text %q, want %q in it", c.name, err, c.text)
		}
		if err == nil && (string(m.Raw) != c.raw || m.Descriptor.Digest != oci.FromBytes([]byte(c.raw)) || m.Descriptor.Size != int64(len(c.raw))) {
			t.Errorf("%s: the bytes were not kept", c.name)
		}
	}
}

func TestBad_008_Ambiguous(t *testing.T) {
	t.Parallel()
	both := `{"schemaVersion":2,"config":` + desc(oci.MediaConfig, 2, "") + `,"layers":[],"manifests":[]}`
	runBad(t, []badManifest{
		{"layers and manifests", oci.MediaManifest, both, oci.ErrInvalid, "ambiguous"},
		{"layers and manifests as an index", oci.MediaIndex, both, oci.ErrInvalid, "ambiguous"},
		{"config and manifests", "", `{"config":` + desc(oci.MediaConfig, 2, "") + `,"manifests":[]}`, oci.ErrInvalid, "ambiguous"},
		{"blobs and layers", "", `{"blobs":[],"layers":[]}`, oci.ErrInvalid, "ambiguous"},
		{"header says image", oci.MediaManifest, `{"mediaType":"` + oci.MediaIndex + `","manifests":[]}`, oci.ErrInvalid, "its source calls it"},
		{"header says Docker's", oci.MediaDockerManifest, `{"mediaType":"` + oci.MediaManifest + `","layers":[]}`, oci.ErrInvalid, "its source calls it"},
		{"an index's form, an image's type", "", `{"mediaType":"` + oci.MediaManifest + `","manifests":[]}`, oci.ErrInvalid, "form"},
		{"an image's form, an index's type", "", `{"mediaType":"` + oci.MediaIndex + `","layers":[]}`, oci.ErrInvalid, "form"},
		{"an index's form, an unknown type", "", `{"mediaType":"application/vnd.x.index.v1+json","manifests":[]}`, oci.ErrInvalid, "form"},
		{"an artifact's form, an image's type", "", `{"mediaType":"` + oci.MediaManifest + `","blobs":[]}`, oci.ErrInvalid, "form"},
		{"an artifact", "", `{"mediaType":"` + oci.MediaArtifact + `","blobs":[]}`, nil, ""},
		{"null is nothing", oci.MediaIndex, `{"manifests":[],"layers":null,"config":null}`, nil, ""},
		{"a type that is no manifest's", "", `{"mediaType":"text/\u001b[1mx","layers":[]}`, oci.ErrInvalid, `text/\x1b`},
	})
}

func TestBad_009_KeysTwice(t *testing.T) {
	t.Parallel()
	layer := desc(oci.MediaLayer, 1, "")
	list := []badManifest{
		{"twice", "", `{"layers":[],"layers":[]}`, oci.ErrInvalid, "twice"},
		{"twice, escaped", "", `{"layers":[],"l\u0061yers":[]}`, oci.ErrInvalid, "twice"},
		{"unknown key twice", "", `{"layers":[],"x":1,"x":2}`, oci.ErrInvalid, "twice"},
		{"twice, deep", "", imageJSON(layer[:len(layer)-1] + `,"size":2}`), oci.ErrInvalid, "twice"},
		{"letter case", "", `{"Layers":[]}`, oci.ErrInvalid, `"layers"`},
		{"letter case, deep", "", imageJSON(layer[:len(layer)-1] + `,"DIGEST":"x"}`), oci.ErrInvalid, `"digest"`},
		{"letter case in a platform", oci.MediaIndex, `{"manifests":[` + desc(oci.MediaManifest, 1, `,"platform":{"os":"linux","OS":"windows","architecture":"amd64"}`) + `]}`, oci.ErrInvalid, `"os"`},
		{"long s, which encoding/json takes for an s", "", `{"layerſ":[]}`, oci.ErrInvalid, `"layers"`},
		{"users' own keys", "", `{"layers":[],"annotations":{"Size":"1","size":"2"}}`, nil, ""},
		{"a user's key twice", "", `{"layers":[],"annotations":{"a":"1","a":"2"}}`, oci.ErrInvalid, "twice"},
		{"unknown members", "", `{"layers":[],"x-extension":{"Deep":[1,2.5e3,null,{"y":true}]}}`, nil, ""},
	}
	runBad(t, list)
}

func TestBad_010_JSON(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"trailing bytes": `{"layers":[]} x`, "two values": `{"layers":[]}{}`, "byte order mark": "\ufeff" + `{"layers":[]}`,
		"invalid UTF-8": "{\"layers\":[],\"x\":\"\xff\"}", "NaN": imageJSON(desc(oci.MediaLayer, "NaN", "")),
		"fraction": imageJSON(desc(oci.MediaLayer, "1.5", "")), "exponent": imageJSON(desc(oci.MediaLayer, "1e3", "")),
		"size as text": imageJSON(desc(oci.MediaLayer, `"1"`, "")), "nothing": "", "cut": `{"layers":[`, "comma": `{"layers":[],}`,
		"array": `[]`, "null": `null`, "number": `1`, "deep": strings.Repeat(`{"x":`, 100) + "1" + strings.Repeat("}", 100),
	} {
		runBad(t, []badManifest{{name, "", raw, oci.ErrInvalid, ""}})
	}
	runBad(t, []badManifest{{"space around", "", " \n" + `{"layers":[]}` + "\n", nil, ""}})
}

func TestBad_011_Large(t *testing.T) {
	t.Parallel()
	raw := `{"layers":[],"x":"` + strings.Repeat("a", oci.MaxManifest) + `"}`
	runBad(t, []badManifest{{"5 MiB", "", raw, oci.ErrInvalid, "more than"}})
	fits := raw[:oci.MaxManifest-2] + `"}`
	runBad(t, []badManifest{{"4 MiB", "", fits, nil, ""}})
	s := &ocitest.Fail{}
	_, err := oci.Fetch(t.Context(), s, oci.Descriptor{MediaType: oci.MediaManifest, Digest: hexA, Size: oci.MaxManifest + 1})
	if !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("a manifest that is declared larger: %v", err)
	}
}

func TestBad_015_016_Sizes(t *testing.T) {
	t.Parallel()
	runBad(t, []badManifest{
		{"negative", "", imageJSON(desc(oci.MediaLayer, -1, "")), oci.ErrInvalid, "negative"},
		{"2^62", "", imageJSON(desc(oci.MediaLayer, 1<<62, "")), nil, ""},
		{"2^64", "", imageJSON(desc(oci.MediaLayer, "18446744073709551616", "")), oci.ErrInvalid, "not a manifest"},
		{"negative subject", "", `{"layers":[],"subject":` + desc(oci.MediaManifest, -5, "") + `}`, oci.ErrInvalid, "negative"},
		{"no digest", "", `{"layers":[{"mediaType":"x","size":1}]}`, oci.ErrInvalid, "digest"},
		{"digest that is a path", "", `{"layers":[{"mediaType":"x","size":1,"digest":"sha256:../../../etc"}]}`, oci.ErrInvalid, "digest"},
		{"md5", "", `{"layers":[{"mediaType":"x","size":1,"digest":"md5:d41d8cd98f00b204e9800998ecf8427e"}]}`, oci.ErrInvalid, "unknown algorithm"},
		{"10,000 layers", "", imageJSON(strings.Split(strings.Repeat(desc(oci.MediaLayer, 1, "")+"|", 9999), "|")[:9999]...), nil, ""},
		{"10,001 layers", "", imageJSON(strings.Split(strings.Repeat(desc(oci.MediaLayer, 1, "")+"|", 10001), "|")[:10001]...), oci.ErrInvalid, "entries"},
	})
}

func TestBad_018_UnknownMediaTypes(t *testing.T) {
	t.Parallel()
	runBad(t, []badManifest{
		{"a login page", "text/html", "<html>login</html>", oci.ErrInvalid, "not valid JSON"},
		{"neither", "", `{"schemaVersion":2}`, oci.ErrInvalid, "neither"},
		{"unknown config and layer", oci.MediaManifest, `{"config":` + desc("application/x", 1, "") + `,"layers":[` + desc("y", 1, "") + `]}`, nil, ""},
	})
	m, err := oci.ParseManifest("", []byte(`{"mediaType":"application/vnd.x.manifest.v3+json","layers":[`+desc(oci.MediaManifest, 1, "")+`]}`))
	if err != nil || m.Descriptor.MediaType != "application/vnd.x.manifest.v3+json" {
		t.Fatalf("unknown manifest: %+v, %v", m, err)
	}
	if got := m.Children()[0].MediaType; oci.IsManifest(got) {
		t.Errorf("a layer is called %s", got)
	}
	if m.Layers[0].MediaType != oci.MediaManifest {
		t.Error("what the manifest says was changed")
	}
}

func TestBad_019_Schema1(t *testing.T) {
	t.Parallel()
	old := `{"schemaVersion":1,"name":"x","tag":"y","architecture":"amd64","fsLayers":[{"blobSum":"` + hexA + `"}],"history":[]}`
	runBad(t, []badManifest{
		{"schema 1", oci.MediaSchema1Signed, old, oci.ErrUnsupported, "push it again"},
		{"schema 1 by its form", "", old, oci.ErrUnsupported, "schema 1"},
		{"schema 1 by its name", oci.MediaSchema1, `{}`, oci.ErrUnsupported, "schema 1"},
		{"schema 1 and 2", "", `{"schemaVersion":2,"layers":[],"fsLayers":[]}`, oci.ErrInvalid, "ambiguous"},
	})
}

func TestBad_021_EmbeddedData(t *testing.T) {
	t.Parallel()
	d := oci.Bytes("text/plain", []byte("hello")).Descriptor()
	layer := func(data []byte) string {
		x := d
		x.Data = data
		raw, _ := json.Marshal(x)
		return imageJSON(string(raw))
	}
	big := oci.Bytes("text/plain", make([]byte, oci.MaxData+1)).Descriptor()
	big.Data = make([]byte, oci.MaxData+1)
	raw, _ := json.Marshal(big)
	runBad(t, []badManifest{
		{"right", "", layer([]byte("hello")), nil, ""},
		{"wrong", "", layer([]byte("hellO")), oci.ErrCorrupt, "embeds data"},
		{"short", "", layer([]byte("hell")), oci.ErrCorrupt, "embeds data"},
		{"empty", "", `{"layers":[` + desc("x", 1, `,"data":""`) + `]}`, oci.ErrCorrupt, "embeds data"},
		{"not base64", "", `{"layers":[` + desc("x", 1, `,"data":"?"`) + `]}`, oci.ErrInvalid, ""},
		{"large", "", imageJSON(string(raw)), oci.ErrInvalid, "embeds"},
	})
	m, err := oci.ParseManifest("", []byte(layer([]byte("hello"))))
	if err != nil {
		t.Fatal(err)
	}
	got, err := oci.ReadAll(t.Context(), nil, m.Layers[0], 10) // a request would panic
	if string(got) != "hello" || err != nil {
		t.Errorf("embedded data: %q, %v", got, err)
	}
}

func TestBad_025_LayerTypesStay(t *testing.T) {
	t.Parallel()
	m, err := oci.ParseManifest("", []byte(imageJSON(desc(oci.MediaLayerGzip, 1, ""), desc("application/spdx+json", 1, ""))))
	if err != nil || m.Children()[1].MediaType != oci.MediaLayerGzip || m.Children()[2].MediaType != "application/spdx+json" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	for raw, ok := range map[string]bool{
		`{}`: true, `[]`: true, `1`: true, `"x"`: true, ` {"a":[{"b":1},{"b":2}]} `: true, `{"Name":1,"name":2}`: true,
		`{"a":1,"a":1}`: false, `{"A":1}`: false, `[{"x":[{"A":1}]}]`: false, `{"annotations":{"A":1}}`: true,
		`{"annotations":{"A":1},"A":1}`: false, `{"Labels":{"A":1}}`: true,
		strings.Repeat("[", 64) + strings.Repeat("]", 64): true, strings.Repeat("[", 65) + strings.Repeat("]", 65): false,
		`[1,]`: false, `{"a" 1}`: false, `{1:2}`: false, `]`: false, `{} {}`: false, ``: false,
	} {
		if err := oci.CheckJSON([]byte(raw), "a"); (err == nil) != ok || err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

var manifestSeeds = []string{
	imageJSON(), imageJSON(desc(oci.MediaLayer, 1, "")), `{"manifests":[]}`, `{"layerſ":[]}`, `{"blobs":[]}`, `{"schemaVersion":1}`,
	`{"mediaType":"` + oci.MediaIndex + `","manifests":[` + desc(oci.MediaManifest, 1, `,"platform":{"os":"linux","architecture":"arm"}`) + `]}`,
	`{"layers":[],"manifests":[]}`, `[`, `{"layers":null}`, `{"layers":[{"data":"aGVsbG8="}]}`, "{\"manifests\":[1, 2\n,3 ] }",
}

func FuzzManifest(f *testing.F) {
	for _, s := range manifestSeeds {
		f.Add("", []byte(s))
		f.Add(oci.MediaManifest, []byte(s))
		f.Add(oci.MediaIndex, []byte(s))
	}
	f.Fuzz(func(t *testing.T, mediaType string, raw []byte) {
		before := string(raw)
		m, err := oci.ParseManifest(mediaType, raw)
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrCorrupt) && !errors.Is(err, oci.ErrUnsupported) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if string(m.Raw) != before || m.Descriptor.Digest != oci.FromBytes([]byte(before)) || m.Descriptor.Size != int64(len(before)) {
			t.Fatal("the bytes were not kept")
		}
		if !json.Valid(raw) || !oci.IsManifest(m.Descriptor.MediaType) {
			t.Fatalf("accepted %q as %s", raw, m.Descriptor.MediaType)
		}
		var exact map[string]json.RawMessage // as a reader that minds letter case sees it
		if err := json.Unmarshal(raw, &exact); err != nil {
			t.Fatal(err)
		}
		for key, n := range map[string]int{"layers": len(m.Layers), "manifests": len(m.Manifests)} {
			var list []json.RawMessage
			_ = json.Unmarshal(exact[key], &list)
			if len(list) != n && exact["blobs"] == nil {
				t.Fatalf("%s: read %d, there are %d", key, n, len(list))
			}
		}
		for _, d := range m.Children() {
			if err := oci.CheckDescriptor(d); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range append(manifestSeeds, `{"a":1,"a":2}`, "\xff", `"\ud800"`, `1 2`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := oci.CheckJSON(raw, "a", "size")
		if err == nil && !json.Valid(raw) {
			t.Fatalf("accepted %q", raw)
		}
		if err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if err != nil {
			return
		}
		var strict map[string]any
		var loose struct{ A, Size any }
		if json.Unmarshal(raw, &strict) != nil || json.Unmarshal(raw, &loose) != nil {
			return
		}
		if (loose.A != nil) != (strict["A"] != nil || strict["a"] != nil) || (loose.Size != nil) != (strict["size"] != nil || strict["Size"] != nil) {
			t.Fatalf("%q reads in two ways", raw)
		}
	})
}
