// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// Something before the only member, after something was put behind it.
func TestInsertAroundTheOnlyMember(t *testing.T) {
	t.Parallel()
	s := shelf{}
	n := load(t, s, s.image(fmt.Sprintf(plain, `{"Env":["A=b"]}`), 1, false, ""))
	i := edit.Images(n)[0]
	for _, key := range []string{"WorkingDir", "User"} {
		if err := i.Insert("x", "config", key); err != nil {
			t.Fatal(err)
		}
	}
	if got := configText(t, seal(t, n)); !strings.Contains(got, `{"User":"x","Env":["A=b"],"WorkingDir":"x"}`) {
		t.Error(got)
	}
}

// A config that an edit made ambiguous is not sealed.
func TestSealRefusesAnAmbiguousConfig(t *testing.T) {
	t.Parallel()
	s := shelf{}
	n := load(t, s, s.image(fmt.Sprintf(plain, "{}"), 1, false, ""))
	if err := edit.Images(n)[0].Set("windows", "OS"); err != nil {
		t.Fatal(err)
	}
	if _, err := edit.Seal(n); !errors.Is(err, oci.ErrInvalid) {
		t.Error(err)
	}
}

// Docker's manifests have no annotations: those that were there are left out, and
// it is said which. What else they cannot have is not lost silently.
func TestFamilyWithoutAnnotations(t *testing.T) {
	t.Parallel()
	s := shelf{}
	img := s.image(rich, 1, false, `"annotations":{"org.opencontainers.image.base.name":"x","own":"1"},`)
	n := load(t, s, s.index(false, []oci.Descriptor{img}, `"annotations":{"entry":"y"}`))
	if err := n.(*edit.Index).Annotate("whole", "z"); err != nil {
		t.Fatal(err)
	}
	if err := edit.ToFamily(n, true); err != nil {
		t.Fatal(err)
	}
	got := seal(t, n)
	m, _ := oci.Fetch(t.Context(), got, got.Root)
	child, _ := oci.Fetch(t.Context(), got, m.Manifests[0])
	if all := string(m.Raw) + string(child.Raw); strings.Contains(all, "annotations") || !strings.Contains(all, "x-unknown") {
		t.Error(all)
	}
	if notes := strings.Join(got.Notes, "\n"); len(got.Notes) != 2 || !strings.Contains(notes, `"entry", "whole"`) || !strings.Contains(notes, `"org.opencontainers.image.base.name", "own"`) {
		t.Errorf("%q", got.Notes)
	}
	var many strings.Builder
	for k := range 1000 {
		fmt.Fprintf(&many, `"key%03d":"",`, k)
	}
	n = load(t, s, s.image(rich, 1, false, `"annotations":{`+strings.TrimSuffix(many.String(), ",")+`},`))
	if err := edit.ToFamily(n, true); err != nil {
		t.Fatal(err)
	}
	if got := seal(t, n); len(got.Notes) != 1 || len(got.Notes[0]) > 300 || !strings.HasSuffix(got.Notes[0], "and 990 more") {
		t.Errorf("%q", got.Notes)
	}
	about := fmt.Sprintf(`"subject":{"mediaType":%q,"digest":%q,"size":%d},`, img.MediaType, img.Digest, img.Size)
	for _, more := range []string{about, `"artifactType":"application/x",`} {
		if err := edit.ToFamily(load(t, s, s.image(rich, 1, false, more)), true); !errors.Is(err, oci.ErrUnsupported) {
			t.Errorf("%s: %v", more, err)
		}
	}
	x, _ := edit.NewIndex(false)
	if err := errors.Join(x.Annotate("a", "b"), x.SetFamily(true)); err != nil || strings.Contains(string(x.Raw()), "annotations") {
		t.Errorf("%s %v", x.Raw(), err)
	}
}

// Members in other letter case, that an edit would set a second time.
func TestBad_024_SpellingsBelow(t *testing.T) {
	t.Parallel()
	for _, more := range []string{`"config":{"Healthcheck":{"test":["NONE"]}}`, `"history":[{},{"Created_By":"x"}]`, `"history":[{"EMPTY_LAYER":true}]`} {
		s := shelf{}
		d := s.image(`{"os":"linux","rootfs":{"diff_ids":[LAYERS]},`+more+`}`, 2, false, "")
		if _, err := edit.Load(t.Context(), s, d, edit.Options{}); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

// A layer that comes and goes leaves the image as it was, whatever its history.
func TestAppendAndRemoveHistory(t *testing.T) {
	t.Parallel()
	const unknown = `{"created_by":"unknown","comment":"the image had no history"}`
	for _, h := range []string{"", `"history":null,`, `"history":[ ],`, `"history": [` + unknown + `],`, `"history":[{"created_by":"a"} ,{"x":1, "created_by":"b"}],`,
		`"history":[{"created_by":"a","empty_layer":true},{"created_by":"b"},{"created_by":"c"}],`, `"history":[{"created_by":"a"}],`} {
		for _, layers := range []int{0, 1} {
			s := shelf{}
			d := s.image(`{"os":"linux",`+h+`"rootfs":{"type":"layers","diff_ids":[LAYERS]}}`, layers, false, "")
			n := load(t, s, d)
			l := edit.Layer{Descriptor: oci.Descriptor{MediaType: oci.MediaLayerGzip, Digest: oci.FromBytes([]byte("x")), Size: 3}, DiffID: oci.FromBytes([]byte("y")), From: s}
			apply(t, n, edit.Append(l, edit.History{CreatedBy: "q"}), edit.RemoveLayer(layers))
			got, err := edit.Seal(n)
			if err != nil {
				t.Fatal(err)
			}
			if got.Root.Digest != d.Digest || len(got.Notes) > 0 {
				t.Errorf("%s of %d layers: %s %q", h, layers, edit.Images(n)[0].RawConfig(), got.Notes)
			}
		}
	}
}

// A variable that is set in a config with very many does not decode them all. Not
// parallel: it counts allocations.
func TestBad_024_ManyVariables(t *testing.T) {
	s := shelf{}
	list := make([]string, 200_000)
	for k := range list {
		list[k] = fmt.Sprintf("K%d=v", k)
	}
	list[7] = "\"=q"
	raw, _ := json.Marshal(map[string]any{"Env": list})
	n := load(t, s, s.image(fmt.Sprintf(plain, raw), 1, false, ""))
	var edits []edit.Edit
	for k := range 100 {
		edits = append(edits, edit.SetEnv(fmt.Sprintf("K%d", 1000*k), "new"), edit.SetEnv(fmt.Sprint("N", k), "new"))
	}
	apply(t, n, append(edits, edit.SetEnv(`"`, "w"))...)
	c, err := edit.Images(n)[0].Config()
	if err != nil || len(c.Config.Env) != 200_100 || c.Config.Env[99_000] != "K99000=new" || c.Config.Env[7] != `"=w` {
		t.Fatalf("%d %v", len(c.Config.Env), err)
	}
	value := 0
	if got := testing.AllocsPerRun(5, func() {
		value++
		apply(t, n, edit.SetEnv("K199999", fmt.Sprint(value)))
	}); got > 1000 {
		t.Errorf("%v allocations for one variable", got)
	}
}
