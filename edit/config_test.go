// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

const plain = `{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[LAYERS]},"history":[{"created_by":"a"},{"created_by":"b","empty_layer":true,"created":"2030-01-01T00:00:00Z"}],"created":"2025-01-01T00:00:00Z"}`

var day = time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("x", 3600))

// What becomes of the config object, and of all of the config where a name says
// so.
func TestConfigEdits(t *testing.T) {
	t.Parallel()
	list := func(e ...edit.Edit) []edit.Edit { return e }
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for name, c := range map[string]struct {
		config, os string
		edits      []edit.Edit
		want       string
	}{
		"env in its place":        {`{"Env":["A=1","B=2","C=3"]}`, "", list(edit.SetEnv("B", "x=y,z")), `{"Env":["A=1","B=x=y,z","C=3"]}`},
		"new env":                 {`{"Env":["A=1"]}`, "", list(edit.SetEnv("a", "<&>")), `{"Env":["A=1","a=<&>"]}`},
		"env of Windows":          {`{"Env":["Path=1"]}`, "windows", list(edit.SetEnv("PATH", "2")), `{"Env":["Path=2"]}`},
		"env from nothing":        {`null`, "", list(edit.SetEnv("A", "")), `{"Env":["A="]}`},
		"env that is null":        {`{"Env":null}`, "", list(edit.SetEnv("A", "1")), `{"Env":["A=1"]}`},
		"env without a value":     {`{"Env":["A"]}`, "", list(edit.SetEnv("A", "1")), `{"Env":["A=1"]}`},
		"env that is there twice": {`{"Env":["A=1","A=2"]}`, "", list(edit.SetEnv("A", "2")), `{"Env":["A=2","A=2"]}`},
		"remove env":              {`{"Env":["A=1","B=2","A=3"]}`, "", list(edit.RemoveEnv("A")), `{"Env":["B=2"]}`},
		"remove the last env":     {`{"Env":["A=1"],"User":""}`, "", list(edit.RemoveEnv("A")), `{"User":""}`},
		"remove env of Windows":   {`{"Env":["Path=1","X=1"]}`, "windows", list(edit.RemoveEnv("PATH")), `{"Env":["X=1"]}`},
		"label":                   {`{"Labels":{"b":"1","a":"2"}}`, "", list(edit.SetLabel("b", ""), edit.SetLabel("c", "3")), `{"Labels":{"b":"","a":"2","c":"3"}}`},
		"label from null":         {`{"Labels":null}`, "", list(edit.SetLabel("b", "1")), `{"Labels":{"b":"1"}}`},
		"remove labels":           {`{"Labels":{"b":"1","a":"2"},"x":1}`, "", list(edit.RemoveLabel("b"), edit.RemoveLabel("a")), `{"x":1}`},
		"entrypoint leaves cmd":   {`{"Entrypoint":["a"],"Cmd":["b,c"]}`, "", list(edit.SetEntrypoint("x", "y,z")), `{"Entrypoint":["x","y,z"],"Cmd":["b,c"]}`},
		"cmd leaves entrypoint":   {`{"Entrypoint":["a"],"Cmd":["b"]}`, "", list(edit.SetCmd("c d")), `{"Entrypoint":["a"],"Cmd":["c d"]}`},
		"empty is not unset":      {`{"Entrypoint":["a"],"Cmd":["b"]}`, "", list(edit.SetEntrypoint(), edit.Unset(edit.Cmd)), `{"Entrypoint":[]}`},
		"texts":                   {`{}`, "", list(edit.SetUser("1:2"), edit.SetWorkdir("/a"), edit.SetStopSignal("SIGINT")), `{"User":"1:2","WorkingDir":"/a","StopSignal":"SIGINT"}`},
		"workdir of Windows":      {`{}`, "windows", list(edit.SetWorkdir(`c:\app`)), `{"WorkingDir":"c:\\app"}`},
		"lists of Docker's":       {`{}`, "", list(edit.SetShell("sh", "-c"), edit.SetOnBuild("RUN x")), `{"Shell":["sh","-c"],"OnBuild":["RUN x"]}`},
		"ports":                   {`{"ExposedPorts":{"80":{}}}`, "", list(edit.AddPort("80"), edit.AddPort("53/UDP"), edit.AddPort("8000-8001")), `{"ExposedPorts":{"80":{},"53/udp":{},"8000/tcp":{},"8001/tcp":{}}}`},
		"remove ports":            {`{"ExposedPorts":{"80":{},"1/tcp":{},"2/tcp":{},"1-2":{},"3/udp":{}}}`, "", list(edit.RemovePort("80/tcp"), edit.RemovePort("1-2")), `{"ExposedPorts":{"3/udp":{}}}`},
		"replace ports":           {`{"ExposedPorts":{"80":{}},"x":1}`, "", list(edit.Unset(edit.ExposedPorts), edit.AddPort("81")), `{"x":1,"ExposedPorts":{"81/tcp":{}}}`},
		"volumes":                 {`{"Volumes":{"/a":{"x":1}}}`, "", list(edit.AddVolume("/a"), edit.AddVolume("/b"), edit.RemoveVolume("/c")), `{"Volumes":{"/a":{"x":1},"/b":{}}}`},
		"no volumes":              {`{"Volumes":{"/a":{}}}`, "", list(edit.RemoveVolume("/a")), `{}`},
		"a member of health":      {`{"Healthcheck":{"Test":["CMD","x"],"StartInterval":5,"Own":1}}`, "", list(edit.SetHealthcheck(raw(`{"Retries":3}`))), `{"Healthcheck":{"Test":["CMD","x"],"StartInterval":5,"Own":1,"Retries":3}}`},
		"no health":               {`{"Healthcheck":{"Test":["CMD","x"]}}`, "", list(edit.SetHealthcheck(raw(`{"Test":["NONE"]}`))), `{"Healthcheck":{"Test":["NONE"]}}`},
		"a member of health less": {`{"Healthcheck":{"Test":["CMD","x"],"Timeout":5}}`, "", list(edit.SetHealthcheck(raw(`{"Timeout":null}`))), `{"Healthcheck":{"Test":["CMD","x"]}}`},
		"health from nothing":     {`{}`, "", list(edit.SetHealthcheck(raw(`{"StartInterval":1, "Test":["CMD-SHELL","a && b"]}`))), `{"Healthcheck":{"Test":["CMD-SHELL","a && b"],"StartInterval":1}}`},
		"unset health":            {`{"Healthcheck":{"Test":["CMD","x"]}}`, "", list(edit.Unset(edit.Healthcheck)), `{}`},
		"what nobody knows":       {`{ "X" : [ 1 , 2 ], "User":"a" }`, "", list(edit.SetUser("b")), `{ "X" : [ 1 , 2 ], "User":"b" }`},
	} {
		s := shelf{}
		config := fmt.Sprintf(plain, c.config)
		if c.os != "" {
			config = strings.Replace(config, "linux", c.os, 1)
		}
		d := s.image(config, 1, false, "")
		got := configText(t, seal(t, apply(t, load(t, s, d), c.edits...)))
		_, got, _ = strings.Cut(got, `"config":`)
		got, _, _ = strings.Cut(got, `,"rootfs"`)
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestConfigTopEdits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		e        edit.Edit
		old, new string
	}{
		"created":        {edit.SetCreated(day), `"created":"2025-01-01T00:00:00Z"`, `"created":"2026-02-03T03:05:06Z"`},
		"unset created":  {edit.UnsetCreated(), `,"created":"2025-01-01T00:00:00Z"`, ``},
		"author":         {edit.SetAuthor("<me>"), `00Z"}`, `00Z","author":"<me>"}`},
		"clamp":          {edit.Clamp(day), `2030-01-01T00:00:00Z`, `2026-02-03T03:05:06Z`},
		"add history":    {edit.AddHistory(edit.History{CreatedBy: "x"}), `00Z"}],`, `00Z"},{"created_by":"x","empty_layer":true}],`},
		"remove history": {edit.RemoveHistory(1), `,{"created_by":"b","empty_layer":true,"created":"2030-01-01T00:00:00Z"}`, ``},
		"amend history":  {edit.AmendHistory(edit.History{Comment: "c", CreatedBy: "d"}), `"b","empty_layer":true,"created":"2030-01-01T00:00:00Z"}`, `"d","empty_layer":true,"created":"2030-01-01T00:00:00Z","comment":"c"}`},
		"platform":       {edit.SetPlatform(oci.Platform{OS: "linux", Architecture: "arm64", Variant: "v9", OSVersion: "1", OSFeatures: []string{"f"}}), `"amd64","os":"linux",`, `"arm64","os":"linux",`},
	} {
		s := shelf{}
		d := s.image(fmt.Sprintf(plain, "{}"), 1, false, "")
		was := configText(t, seal(t, load(t, s, d)))
		got := configText(t, seal(t, apply(t, load(t, s, d), c.e)))
		if name == "platform" {
			got = strings.Replace(got, `,"variant":"v9","os.version":"1","os.features":["f"]}`, `}`, 1)
		}
		if !strings.Contains(was, c.old) || got == was {
			t.Fatalf("%s: %s in %s", name, c.old, was)
		}
		last := strings.LastIndex(was, c.old)
		if want := was[:last] + strings.Replace(was[last:], c.old, c.new, 1); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A line that is of no layer, put on an image without history: there is one line
// for each layer then, and none again when it goes.
func TestHistoryOfNothing(t *testing.T) {
	t.Parallel()
	s := shelf{}
	d := s.fill(ocitest.Image(1, 2, 10))
	n := apply(t, load(t, s, d), edit.AddHistory(edit.History{CreatedBy: "x"}))
	seal(t, n)
	if h := edit.Images(n)[0].History(); len(h) != 3 || !h[2].EmptyLayer || !edit.Images(n)[0].Whole() {
		t.Errorf("%v", h)
	}
	if got := seal(t, apply(t, n, edit.RemoveHistory(2))); got.Root.Digest != d.Digest {
		t.Error(configText(t, got))
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	s := shelf{}
	d := s.image(rich, 2, false, ` "annotations": {"b":"1"},`)
	x := s.index(false, []oci.Descriptor{d}, `"annotations": {"e": "1"}`)
	n := load(t, s, x).(*edit.Index)
	apply(t, n, edit.SetAnnotation("a", "<>"), edit.RemoveAnnotation("b"), edit.On(oci.Platform{OS: "linux", Architecture: "s390x"}, edit.SetAnnotation("no", "no")))
	for _, e := range []edit.IndexEdit{edit.AnnotateIndex("i", "1"), edit.AnnotateEntries(nil, "k", "v"), edit.RemoveEntryAnnotations(nil, "e"),
		edit.AnnotateEntries(&oci.Platform{OS: "linux", Architecture: "s390x"}, "no", "no"), edit.AnnotateIndex("j", "1"), edit.RemoveIndexAnnotation("j")} {
		if err := e(n); err != nil {
			t.Fatal(err)
		}
	}
	got := seal(t, n)
	root := text(t, got, got.Root)
	m, _ := oci.Fetch(t.Context(), got, got.Root)
	if child := text(t, got, m.Manifests[0]); !strings.Contains(child, ` "annotations": {"a":"<>"},`) {
		t.Error(child)
	}
	if !strings.Contains(root, `"annotations": {"k": "v"}}`) || !strings.Contains(root, `"annotations": {"i":"1"}`) || strings.Contains(root, `"no"`) {
		t.Error(root)
	}
	docker := load(t, s, s.index(true, []oci.Descriptor{s.image(rich, 2, true, "")}))
	if err := edit.Images(docker)[0].Apply(edit.SetAnnotation("a", "b")); !errors.Is(err, edit.ErrNoAnnotations) || !errors.Is(err, oci.ErrUnsupported) {
		t.Error(err)
	}
	if err := edit.AnnotateIndex("a", "b")(docker.(*edit.Index)); !errors.Is(err, edit.ErrNoAnnotations) {
		t.Error(err)
	}
}

func TestConfigEditsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := shelf{}
	d := s.image(fmt.Sprintf(plain, "{}"), 1, false, "")
	for name, e := range map[string]edit.Edit{
		"env name": edit.SetEnv("", "x"), "env with =": edit.SetEnv("A=B", "x"), "zero byte": edit.SetEnv("A", "x\x00"),
		"zero byte in a word": edit.SetCmd("a\x00"), "zero byte in a user": edit.SetUser("\x00"), "label": edit.SetLabel("", "x"),
		"annotation": edit.SetAnnotation("", "x"), "workdir": edit.SetWorkdir("app"), "volume": edit.AddVolume("c:/x"), "no volume": edit.AddVolume(""),
		"port": edit.AddPort("http"), "port 0": edit.AddPort("0"), "big port": edit.AddPort("65536"), "range": edit.AddPort("10-9"), "long range": edit.AddPort("1-65535"),
		"protocol": edit.AddPort("80/icmp"), "sign": edit.RemovePort("+80"), "health": edit.SetHealthcheck(json.RawMessage(`[]`)), "null": edit.SetHealthcheck(json.RawMessage(`null`)),
		"test": edit.SetHealthcheck(json.RawMessage(`{"Test":"x"}`)), "form": edit.SetHealthcheck(json.RawMessage(`{"Test":["curl"]}`)),
		"member": edit.SetHealthcheck(json.RawMessage(`{"test":["NONE"]}`)), "unknown": edit.SetHealthcheck(json.RawMessage(`{"Every":1}`)),
		"time": edit.SetHealthcheck(json.RawMessage(`{"Timeout":-1}`)), "line of a layer": edit.RemoveHistory(0), "no line": edit.RemoveHistory(2), "before": edit.RemoveHistory(-1),
		"platform": edit.SetPlatform(oci.Platform{OS: "linux"}), "layer": edit.RemoveLayer(1),
	} {
		if err := edit.Images(load(t, s, d))[0].Apply(e); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := edit.Images(load(t, s, s.fill(ocitest.Artifact(1, "application/x", nil))))[0]
	for n, e := range configEdits {
		if err := e(a); !errors.Is(err, oci.ErrUnsupported) && n < len(configEdits)-2 {
			t.Errorf("edit %d of an artifact: %v", n, err)
		}
	}
}

// configEdits each change another member; the last ones are of the manifest.
var configEdits = []edit.Edit{
	edit.SetEnv("A", "1"), edit.SetLabel("new", "1"), edit.RemoveLabel("z"), edit.SetEntrypoint("a"), edit.SetCmd("b"), edit.SetUser("u"), edit.SetWorkdir("/w"),
	edit.AddPort("1"), edit.AddVolume("/v"), edit.SetHealthcheck(json.RawMessage(`{"Retries":1}`)), edit.SetStopSignal("9"), edit.SetShell("s"),
	edit.SetOnBuild("o"), edit.SetAuthor("me"), edit.SetCreated(day), edit.SetOSVersion("1"), edit.RemoveEnv("PATH"), edit.AddHistory(edit.History{CreatedBy: "h"}),
	edit.UnsetAuthor(), edit.Unset(edit.Labels), edit.SetPlatform(oci.Platform{OS: "linux", Architecture: "arm64"}),
	edit.SetAnnotation("a", "1"), edit.RemoveAnnotation("b"),
}

// Edits of different members commute: the order in which they are made shows in
// nothing but the order of members that are new.
func TestEditsCommute(t *testing.T) {
	t.Parallel()
	s := shelf{}
	d := s.image(rich, 2, false, ` "annotations": {"b":"1","c":"2"},`)
	random := rand.New(rand.NewPCG(1, 2))
	same := [][2]int{{1, 19}, {2, 19}, {13, 18}} // of one member
	for range 100 {
		a, b := random.IntN(len(configEdits)), random.IntN(len(configEdits))
		if a > b {
			a, b = b, a
		}
		if a == b || slices.Contains(same, [2]int{a, b}) {
			continue
		}
		one := seal(t, apply(t, load(t, s, d), configEdits[a], configEdits[b]))
		two := seal(t, apply(t, load(t, s, d), configEdits[b], configEdits[a]))
		if x, y := canonical(t, configText(t, one)), canonical(t, configText(t, two)); x != y {
			t.Errorf("edits %d and %d:\n%s\n%s", a, b, x, y)
		}
		m, _ := oci.Fetch(t.Context(), one, one.Root)
		o, _ := oci.Fetch(t.Context(), two, two.Root)
		if fmt.Sprint(m.Annotations, m.Layers) != fmt.Sprint(o.Annotations, o.Layers) {
			t.Errorf("edits %d and %d: %s\n%s", a, b, m.Raw, o.Raw)
		}
	}
}

// canonical is JSON with its members in order.
func canonical(t *testing.T, raw string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatal(err)
	}
	out, _ := json.Marshal(v)
	return string(out)
}
