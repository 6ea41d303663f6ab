// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// told shows changes as OF MEMBER OLD NEW PLATFORMS.
func told(n edit.Node) string {
	var lines []string
	for _, c := range edit.Changes(n) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s>%s %s", c.Of, c.Member, c.Old, c.New, strings.Join(c.Platforms, ","))))
	}
	return strings.Join(lines, "\n")
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s := shelf{}
	for name, c := range map[string]struct {
		edit edit.Edit
		want string
	}{
		"nothing":       {edit.SetEnv("A", "<b>&"), ""},
		"a variable":    {edit.SetEnv("A", "c"), `config config.Env[1] "A=<b>&">"A=c"`},
		"one more":      {edit.SetEnv("B", "c"), `config config.Env[2] >"B=c"`},
		"one less":      {edit.RemoveEnv("PATH"), `config config.Env[0] "PATH=/bin">`},
		"a label":       {edit.SetLabel("a.b", "c"), `config config.Labels["a.b"] >"c"`},
		"null":          {edit.SetEntrypoint("x"), `config config.Entrypoint null>["x"]`},
		"new object":    {edit.AddVolume("/v"), `config config.Volumes["/v"] >{}`},
		"a whole one":   {edit.Unset(edit.Labels), "config config.Labels.a \"<&>\">\nconfig config.Labels.z \"1\">"},
		"an annotation": {edit.SetAnnotation("a", "b"), `manifest annotations.a >"b"`},
		"a number":      {func(i *edit.Image) error { return i.Set(2, "x-first", "b") }, `config ["x-first"].b 1.50e3>2`},
	} {
		n := apply(t, load(t, s, s.image(rich, 2, false, "")), c.edit)
		if got := told(n); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
	x := loadIndex(t, s, s.multi(true, s.small("linux/amd64", 1), s.small("linux/arm64", 2)))
	arm := oci.Platform{OS: "linux", Architecture: "arm64"}
	apply(t, x, edit.SetLabel("a", "b"), edit.On(arm, edit.SetUser("1")))
	for _, e := range []edit.IndexEdit{edit.AnnotateIndex("i", "1"), edit.AnnotateEntries(&arm, "d", "1")} {
		if err := e(x); err != nil {
			t.Fatal(err)
		}
	}
	x.RemoveEntry(2)
	gone := s.multi(true, s.small("linux/amd64", 1), s.small("linux/arm64", 2))
	about := loadIndex(t, s, gone).Entries()[2].Descriptor().Digest
	want := `index annotations.i >"1"
entry annotations.d >"1" linux/arm64
index manifests[2] "` + string(about) + `">
config config.Labels.a >"b" linux/amd64,linux/arm64
config config.User >"1" linux/arm64`
	if got := told(x); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
