// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// Configs that do not fit their image, or are not what they should be.
func TestBad_024_ConfigThatIsEdited(t *testing.T) {
	t.Parallel()
	id := `"sha256:` + strings.Repeat("0", 64) + `"`
	for name, config := range map[string]string{
		"too few diff IDs":    `{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`,
		"too many diff IDs":   `{"os":"linux","rootfs":{"type":"layers","diff_ids":[LAYERS,` + id + `]}}`,
		"no diff IDs":         `{"os":"linux"}`,
		"no digest":           `{"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:x"]}}`,
		"diff IDs no list":    `{"os":"linux","rootfs":{"type":"layers","diff_ids":"x"}}`,
		"rootfs no object":    `{"os":"linux","rootfs":[LAYERS]}`,
		"env is text":         `{"config":{"Env":"x"},"rootfs":{"diff_ids":[LAYERS]}}`,
		"env of numbers":      `{"config":{"Env":[1]},"rootfs":{"diff_ids":[LAYERS]}}`,
		"config is a list":    `{"config":[],"rootfs":{"diff_ids":[LAYERS]}}`,
		"labels are a list":   `{"config":{"Labels":["a"]},"rootfs":{"diff_ids":[LAYERS]}}`,
		"history is text":     `{"history":"x","rootfs":{"diff_ids":[LAYERS]}}`,
		"history of texts":    `{"history":["x"],"rootfs":{"diff_ids":[LAYERS]}}`,
		"created is a number": `{"created":1,"rootfs":{"diff_ids":[LAYERS]}}`,
		"not JSON":            `{`,
		"empty":               ``,
		"null":                `null`,
		"a list":              `[]`,
		"text":                `"x"`,
		"two documents":       `{"rootfs":{"diff_ids":[LAYERS]}}{}`,
		"a key twice":         `{"os":"linux","os":"windows","rootfs":{"diff_ids":[LAYERS]}}`,
		"a key in capitals":   `{"OS":"linux","rootfs":{"diff_ids":[LAYERS]}}`,
		"entrypoint in small": `{"config":{"entrypoint":["x"]},"rootfs":{"diff_ids":[LAYERS]}}`,
		"diff IDs in capital": `{"rootfs":{"DIFF_IDS":[LAYERS]}}`,
		"deep":                `{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `,"rootfs":{"diff_ids":[LAYERS]}}`,
		"not UTF-8":           "{\"x\":\"\xff\",\"rootfs\":{\"diff_ids\":[LAYERS]}}",
	} {
		s := shelf{}
		d := s.image(config, 1, false, "")
		for _, root := range []oci.Descriptor{d, s.index(false, []oci.Descriptor{d})} {
			if _, err := edit.Load(t.Context(), s, root, edit.Options{}); !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		good := edit.Images(load(t, s, s.image(fmt.Sprintf(plain, "{}"), 1, false, "")))[0]
		if err := good.Apply(edit.ReplaceConfig([]byte(config))); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s, put there: %v", name, err)
		}
	}
}

// Ten thousand lines of history for one layer are edited like any other.
func TestBad_024_LongHistory(t *testing.T) {
	t.Parallel()
	s := shelf{}
	lines := strings.Repeat(`{"created_by":"x","empty_layer":true,"created":"2030-01-01T00:00:00Z"},`, 10_000)
	d := s.image(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[LAYERS]},"history":[`+lines+`{"created_by":"y"}]}`, 1, false, "")
	n := apply(t, load(t, s, d), edit.Clamp(time.Unix(0, 0)), edit.AddHistory(edit.History{CreatedBy: "z"}), edit.RemoveHistory(0))
	got := configText(t, seal(t, n))
	if strings.Count(got, "1970-01-01T00:00:00Z") != 9_999 || strings.Contains(got, "2030") || !strings.Contains(got, `"z"`) {
		t.Errorf("%d bytes: %.300s", len(got), got)
	}
}

func TestReplaceRaw(t *testing.T) {
	t.Parallel()
	s, roots := samples()
	img := func() *edit.Image { return edit.Images(load(t, s, roots["pretty"]))[0] }
	config := strings.Replace(string(img().RawConfig()), `"X": 1`, `"X":  2`, 1)
	i := img()
	got := seal(t, apply(t, i, edit.ReplaceConfig([]byte(config))))
	if configText(t, got) != config {
		t.Errorf("config is %s", configText(t, got))
	}
	manifest := strings.Replace(string(img().RawManifest()), `"x-unknown" : [1 ,2]`, `"x-unknown" : 3`, 1)
	i = img()
	if err := edit.ReplaceManifest(i, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	if got := seal(t, i); text(t, got, got.Root) != manifest {
		t.Error("the manifest has other bytes")
	}
	x := load(t, s, roots["built"]).(*edit.Index)
	index := strings.Replace(string(x.Raw()), `"x": {}`, `"x": {"y":1}`, 1)
	if err := edit.ReplaceManifest(x, []byte(index)); err != nil {
		t.Fatal(err)
	}
	if got := seal(t, x); text(t, got, got.Root) != index {
		t.Error("the index has other bytes")
	}
	cut := index[:strings.Index(index, ",\n{")] + index[strings.Index(index, "\n], "):] // the first entry alone
	if err := edit.ReplaceManifest(x, []byte(cut)); err != nil || len(x.Entries()) != 1 {
		t.Fatal(err)
	}
	if got := seal(t, apply(t, x, edit.SetUser("7"))); strings.Count(text(t, got, got.Root), `"digest"`) != 1 {
		t.Errorf("index is %s", text(t, got, got.Root))
	}
}

func TestReplaceRawRefuses(t *testing.T) {
	t.Parallel()
	s, roots := samples()
	i := edit.Images(load(t, s, roots["pretty"]))[0]
	was := string(i.RawManifest())
	a, b := string(i.Layers()[0].Descriptor.Digest), string(i.Layers()[1].Descriptor.Digest)
	c := string(edit.Images(load(t, s, roots["image 2"]))[0].Was().Digest)
	m, _ := oci.Fetch(t.Context(), s, roots["pretty"])
	for name, raw := range map[string]string{
		"no JSON": "x", "empty": "", "an index": string(s.blob(t, roots["built"])), "of Docker": string(s.blob(t, roots["pretty docker"])),
		"other family":   strings.Replace(was, oci.MediaManifest, oci.MediaDockerManifest, 1),
		"a layer less":   strings.Replace(was, was[strings.Index(was, ",\n      {"):strings.Index(was, "\n   ],")], "", 1),
		"layers swapped": strings.NewReplacer(a, b, b, a).Replace(was),
		"what is not in": strings.Replace(was, a, c, 1),
		"other size":     strings.Replace(was, fmt.Sprintf(`"size": %d`, m.Config.Size), `"size": 7`, 1),
		"other config":   strings.Replace(was, string(m.Config.Digest), a, 1),
		"no digest":      strings.Replace(was, a, "sha256:x", 1),
	} {
		if err := edit.ReplaceManifest(i, []byte(raw)); !errors.Is(err, oci.ErrInvalid) || raw == was {
			t.Errorf("%s: %v", name, err)
		}
	}
	swapped := string(i.RawConfig())
	ids := strings.Split(strings.TrimSuffix(swapped[strings.Index(swapped, `"diff_ids": [`)+13:strings.Index(swapped, `], "type"`)], "]"), ", ")
	swapped = strings.NewReplacer(ids[0], ids[1], ids[1], ids[0]).Replace(swapped)
	if err := i.Apply(edit.ReplaceConfig([]byte(swapped))); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("diff IDs swapped: %v", err)
	}
	x := load(t, s, roots["built"]).(*edit.Index)
	for name, raw := range map[string]string{
		"an image": was, "no entries": `{"schemaVersion":2,"mediaType":"` + oci.MediaIndex + `","manifests":[]}`,
		"a stranger": string(s.blob(t, roots["index 1"])), "a list of Docker's": string(s.blob(t, roots["docker list"])),
	} {
		if err := edit.ReplaceManifest(x, []byte(raw)); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("index, %s: %v", name, err)
		}
	}
	if got := seal(t, x).Root.Digest; got != roots["built"].Digest {
		t.Error("a refused edit left something")
	}
	if got := seal(t, i).Root.Digest; got != roots["pretty"].Digest {
		t.Error("a refused edit left something")
	}
	other := &edit.Other{Manifest: m}
	if err := edit.ReplaceManifest(other, m.Raw); !errors.Is(err, oci.ErrUnsupported) {
		t.Error(err)
	}
}

func (s shelf) blob(t testing.TB, d oci.Descriptor) []byte {
	raw, err := oci.ReadAll(t.Context(), s, d, oci.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// FuzzEdit loads what anybody may have pushed: it is refused, or is as it was
// when nothing is edited, and stays an image when something is.
func FuzzEdit(f *testing.F) {
	s, roots := samples()
	for _, d := range roots {
		if m, _ := oci.Fetch(f.Context(), s, d); m.Config != nil {
			f.Add(s.blob(f, *m.Config), m.Raw, uint8(3))
		}
	}
	f.Add([]byte(`{"os":"windows","architecture":"amd64","config":null,"history":null,"rootfs":{"diff_ids":[]}}`),
		[]byte(`{"schemaVersion":2,"mediaType":"`+oci.MediaDockerManifest+`","config":CONFIG,"layers":null,"annotations":null}`), uint8(0))
	f.Add([]byte(`{"rootfs":{"diff_ids":null},"history":[{}]}`), []byte(`{"schemaVersion":2,"config":CONFIG,"layers":[]}`), uint8(1))
	f.Fuzz(func(t *testing.T, config, manifest []byte, pick uint8) {
		s := shelf{}
		c := s.put(oci.MediaConfig, string(config))
		raw, _ := json.Marshal(c)
		if strings.Contains(string(manifest), oci.MediaDockerManifest) {
			raw = []byte(strings.Replace(string(raw), oci.MediaConfig, oci.MediaDockerConfig, 1))
		}
		d := s.put(oci.MediaManifest, strings.Replace(string(manifest), "CONFIG", string(raw), 1))
		if m, err := oci.ParseManifest("", s.blob(t, d)); err == nil {
			d.MediaType = m.Descriptor.MediaType
			s[d.Digest] = m.Blob()
		}
		n, err := edit.Load(t.Context(), s, d, edit.Options{})
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrNotFound) && !errors.Is(err, oci.ErrCorrupt) && !errors.Is(err, oci.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		if got, err := edit.Seal(n); err != nil || got.Root.Digest != d.Digest {
			t.Fatalf("unedited: %v %s", err, manifest)
		}
		for _, i := range edit.Images(n) {
			was := i.RawConfig()
			for k, e := range configEdits {
				if uint8(k)%7 == pick%7 {
					if err := e(i); err != nil && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported) {
						t.Fatal(err)
					}
				}
			}
			if err := i.Apply(edit.AddHistory(edit.History{CreatedBy: "x"}), edit.Clamp(day), edit.SetEnv("X", "y")); err != nil && was != nil {
				t.Fatalf("%v: %s", err, was)
			}
		}
		got, err := edit.Seal(n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := edit.Load(t.Context(), got, got.Root, edit.Options{}); err != nil {
			t.Fatalf("what was made cannot be read: %v", err)
		}
	})
}

// An artifact in an index is no image: it stays as it is.
func TestArtifactInAnIndex(t *testing.T) {
	t.Parallel()
	s := shelf{}
	a, img := s.fill(ocitest.Artifact(1, "application/x", nil)), s.image(rich, 2, false, "")
	got := seal(t, apply(t, load(t, s, s.index(false, []oci.Descriptor{a, img})), edit.SetUser("1")))
	m, _ := oci.Fetch(t.Context(), got, got.Root)
	if len(m.Manifests) != 2 || m.Manifests[0].Digest != a.Digest || m.Manifests[1].Digest == img.Digest || len(got.Notes) != 0 {
		t.Errorf("%s %q", m.Raw, got.Notes)
	}
}

// Images in indexes in an index are all edited.
func TestNestedIndex(t *testing.T) {
	t.Parallel()
	s := shelf{}
	img := s.image(rich, 2, false, "")
	inner := s.index(false, []oci.Descriptor{img, s.image(strings.Replace(rich, "amd64", "arm64", 1), 2, false, "")})
	n := load(t, s, s.index(false, []oci.Descriptor{inner, img}))
	if got := len(edit.Images(n)); got != 3 {
		t.Fatalf("%d images", got)
	}
	got := seal(t, apply(t, n, edit.SetLabel("x", "y")))
	m, _ := oci.Fetch(t.Context(), got, got.Root)
	if m.Manifests[0].MediaType != oci.MediaIndex || m.Manifests[0].Digest == inner.Digest {
		t.Errorf("%s", m.Raw)
	}
	nested, _ := oci.Fetch(t.Context(), got, m.Manifests[0])
	if nested.Manifests[0].Digest != m.Manifests[1].Digest {
		t.Error("one image became two")
	}
}
