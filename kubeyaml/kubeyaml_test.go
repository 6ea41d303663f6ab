// SPDX-License-Identifier: Apache-2.0

package kubeyaml_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/kubeyaml"
	"github.com/dray-tools/dray/oci"
)

var schemes = []string{"ko://", "dray://"}

const image = "127.0.0.1:5000/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// images are what stands for every reference of a file.
func images(f *kubeyaml.File) map[string]string {
	with := map[string]string{}
	for _, r := range f.Refs {
		with[r.Text] = image
	}
	return with
}

func write(t *testing.T, with map[string]string, files ...*kubeyaml.File) string {
	t.Helper()
	var out bytes.Buffer
	if err := kubeyaml.Write(&out, files, with); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// In want, IMAGE is where the image must be.
var replaced = []struct{ name, in, want string }{
	{"plain", "image: ko://x # why\n", "image: IMAGE # why\n"},
	{"no end of line", "image: ko://x", "image: IMAGE"},
	{"double", `a: "ko://x"` + "\n", `a: "IMAGE"` + "\n"},
	{"single", "a: 'ko://x'\n", "a: 'IMAGE'\n"},
	{"escapes", `a: "\x6bo://x\n"` + "\n", `a: "IMAGE"` + "\n"},
	{"white space", `a: 'ko://x '` + "\n", `a: 'IMAGE'` + "\n"},
	{"tag before a block", "- !!str |\n  ko://x\n- &a  >\n  ko://x\n", "- !!str IMAGE\n- &a  IMAGE\n"},
	{"line goes on", "a: \"ko://\\\n  x\"\nb: 1\n", "a: \"IMAGE\"\nb: 1\n"},
	{"both schemes", "- ko://x\n- dray://./y\n", "- IMAGE\n- IMAGE\n"},
	{"flow", "{a: ko://x, b: [ko://y,'ko://z' ,\"ko://z\"]}\n", "{a: IMAGE, b: [IMAGE,'IMAGE' ,\"IMAGE\"]}\n"},
	{"literal", "a: |\n  ko://x\nb: 1\n", "a: IMAGE\nb: 1\n"},
	{"folded with all that goes with it", "a:\n  - &k !!str >2-  # c\n    ko://x  \n\n   \n  # d\n  - 1\n", "a:\n  - &k !!str IMAGE  # c\n  # d\n  - 1\n"},
	{"literal at the end", "a: |+\n  ko://x\n  \t", "a: IMAGE"},
	{"anchor and alias", "a: &i ko://x\nb: *i\n", "a: &i IMAGE\nb: *i\n"},
	{"tag", "a: !!str 'ko://x'\nb: ! ko://x\nc: !<tag:yaml.org,2002:str> ko://x\n", "a: !!str 'IMAGE'\nb: ! IMAGE\nc: !<tag:yaml.org,2002:str> IMAGE\n"},
	{"properties on other lines", "a: &i\n  # ko://c\n  !!str\n\n  ko://x\n", "a: &i\n  # ko://c\n  !!str\n\n  IMAGE\n"},
	{"characters of several bytes", "é: [ü, '日本', ko://x] # ß\n𝄞: \"ko://x\"\n", "é: [ü, '日本', IMAGE] # ß\n𝄞: \"IMAGE\"\n"},
	{"tabs", "a:\tko://x\t# c\nb: [\t1,\t'ko://x'\t]\n", "a:\tIMAGE\t# c\nb: [\t1,\t'IMAGE'\t]\n"},
	{"line ends of Windows", "a: ko://x\r\nb: |\r\n  ko://y\r\nc: 'z'\r\n", "a: IMAGE\r\nb: IMAGE\r\nc: 'z'\r\n"},
	{"all line ends", "a: ko://x\rb: ko://y\u0085c: ko://z\u2028d: ko://z\n", "a: IMAGE\rb: IMAGE\u0085c: IMAGE\u2028d: IMAGE\n"},
	{"byte order mark", "\ufeffa: ko://x\n---\nb: ko://y\n", "\ufeffa: IMAGE\n---\nb: IMAGE\n"},
	{"byte order mark within", "---\na: ko://x\n...\n\ufeffb: ko://y\n", "---\na: IMAGE\n...\n\ufeffb: IMAGE\n"},
	{"documents", "# top\n---\n---\na: ko://x\n--- # second\nb: ko://y\n...\n# c\n---\nko://z\n--- ko://z\n...\nko://z\n...\n", "# top\n---\n---\na: IMAGE\n--- # second\nb: IMAGE\n...\n# c\n---\nIMAGE\n--- IMAGE\n...\nIMAGE\n...\n"},
	{"directives", "%YAML 1.1\n%TAG !e! tag:e,2000:\n---\na: !e!s ko://x\n...\n%YAML 1.1\n---\nb: ko://y\n", "%YAML 1.1\n%TAG !e! tag:e,2000:\n---\na: !e!s IMAGE\n...\n%YAML 1.1\n---\nb: IMAGE\n"},
	{"marker in a block", "a: |\n  one\n  --- two\nb: ko://x\n", "a: |\n  one\n  --- two\nb: IMAGE\n"},
	{"not a reference", "ko://x: 1\nb: xko://x\nc: gecko://x\nd: ko:/x\ne: Ko://x\nf: --image=ko://x\ng: |\n  a: ko://x\n  b: 2\n", "ko://x: 1\nb: xko://x\nc: gecko://x\nd: ko:/x\ne: Ko://x\nf: --image=ko://x\ng: |\n  a: ko://x\n  b: 2\n"},
	{"complex key", "? [ko://x, {ko://x: ko://x}]\n: ko://x\n", "? [ko://x, {ko://x: ko://x}]\n: IMAGE\n"},
	{"merge", "a: &m {image: ko://x}\nb:\n  <<: *m\n", "a: &m {image: IMAGE}\nb:\n  <<: *m\n"},
	{"indented sequence", "a:\n- ko://x\n-\n  ko://x\n- - ko://x\n  - b: ko://x\n", "a:\n- IMAGE\n-\n  IMAGE\n- - IMAGE\n  - b: IMAGE\n"},
	{"comments only", "# ko://x\n", "# ko://x\n"},
	{"empty", "", ""},
	{"json", "{\n\t\"a\" : \"ko://x\",\"ko://k\":[\"ko:\\/\\/x\", 1e999, true,null,{\"b\":\"\\ud83d\\ude00\"} ,\"ko://x\"]}\n", "{\n\t\"a\" : \"IMAGE\",\"ko://k\":[\"IMAGE\", 1e999, true,null,{\"b\":\"\\ud83d\\ude00\"} ,\"IMAGE\"]}\n"},
	{"json with a mark and a marker", "\ufeff---\r\n{\"a\":\"ko://x\"}", "\ufeff---\r\n{\"a\":\"IMAGE\"}"},
	{"several json", "{\"a\":\"ko://x\"}\n\n{\"b\":\"ko://y\"} {\"c\":{\"d\":\"ko://z\"}}", "{\"a\":\"IMAGE\"}\n\n{\"b\":\"IMAGE\"} {\"c\":{\"d\":\"IMAGE\"}}"},
	{"several json after a marker", "---\n{\"a\":\"ko://x\"}\n{\"b\":\"ko://y\"}\n---\n{\"c\":1}", "---\n{\"a\":\"IMAGE\"}\n---\n{\"b\":\"IMAGE\"}\n---\n{\"c\":1}"},
	{"nearly json", "{\"a\": \"ko://x\", # c\n}\n", "{\"a\": \"IMAGE\", # c\n}\n"},
	{"json on the marker's line", "--- {\"a\": \"ko://x\"}\n", "--- {\"a\": \"IMAGE\"}\n"},
}

func TestReplace(t *testing.T) {
	t.Parallel()
	for _, c := range replaced {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, err := kubeyaml.Parse("f.yaml", []byte(c.in), kubeyaml.Options{Schemes: schemes})
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(c.want, "IMAGE", image)
			if got := write(t, images(f), f); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if n := strings.Count(c.want, "IMAGE"); len(f.Refs) != n {
				t.Errorf("%d references, want %d: %v", len(f.Refs), n, f.Refs)
			}
			if !strings.Contains(c.name, "several json after") {
				if got := write(t, nil, f); got != c.in {
					t.Errorf("without images: got %q", got)
				}
			}
		})
	}
}

func TestRefs(t *testing.T) {
	t.Parallel()
	in := "a: ko://x\n---\n# c\nb:\n  - 'dray://y z'\n"
	if _, err := kubeyaml.Parse("f.yaml", []byte(in), kubeyaml.Options{Schemes: schemes}); err == nil || err.Error() != `f.yaml:5: "dray://y z": a reference has no white space in it` {
		t.Error(err)
	}
	in = "a: ko://x\n---\n# c\nb:\n  - dray://y\n  - ko://x\n---\n{\"a\":\n\"ko://x\"}\n{\"a\":1,\n\"b\":\"ko://z\"}\n"
	f, err := kubeyaml.Parse("f.yaml", []byte(in), kubeyaml.Options{Schemes: schemes})
	if err != nil {
		t.Fatal(err)
	}
	want := []kubeyaml.Ref{{"ko://x", 1}, {"dray://y", 5}, {"ko://x", 6}, {"ko://x", 9}, {"ko://z", 11}}
	if !slices.Equal(f.Refs, want) {
		t.Errorf("got %v", f.Refs)
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	in := "ko://x: 1\nargs:\n- --image=ko://x\n- gecko://x\ndata: |\n  image: dray://x\n" + strings.Repeat("k: see ko://x\n---\n", 20)
	f, err := kubeyaml.Parse("f.yaml", []byte(in), kubeyaml.Options{Schemes: schemes})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`f.yaml:1: "ko://x" is a key: it stays as it is`, "f.yaml:3: ko://… stands within a longer text: it stays as it is", "f.yaml:5: dray://… stands within a longer text: it stays as it is"}
	if !slices.Equal(f.Notes[:3], want) || len(f.Notes) != 11 || f.Notes[10] != "f.yaml: 13 more such places" {
		t.Errorf("got %q", f.Notes)
	}
}

func TestQuotes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, with, want string }{
		{"ko://x", "a/b:1", "a/b:1"},
		{"ko://x", "12", `"12"`},
		{"ko://x", "on", `"on"`},
		{"ko://x", "a/b: c", `"a/b: c"`},
		{"ko://x", "a/b:", `"a/b:"`},
		{"ko://x", "a/b #c", `"a/b #c"`},
		{"ko://x", `*/"\`, `"*/\"\\"`},
		{"'ko://x'", `it's/"a"`, `'it''s/"a"'`},
		{`"ko://x"`, `it's/"a"\`, `"it's/\"a\"\\"`},
		{`>-` + "\n  ko://x", "- a", `"- a"`},
		{"ko://x", "", `""`},
	} {
		f, err := kubeyaml.Parse("f.yaml", []byte("a: "+c.in+"\n"), kubeyaml.Options{Schemes: schemes})
		if err != nil {
			t.Fatal(err)
		}
		if got := write(t, map[string]string{"ko://x": c.with}, f); got != "a: "+c.want+"\n" {
			t.Errorf("%s with %s: got %q", c.in, c.with, got)
		}
		if err := kubeyaml.Write(&bytes.Buffer{}, []*kubeyaml.File{f}, map[string]string{"ko://x": "a\nb"}); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("a line break: %v", err)
		}
	}
}

// In these, files are between lines of "====".
func TestJoin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"plain", "a: 1\n====\nb: 2\n====\nc: 3", "a: 1\n---\nb: 2\n---\nc: 3"},
		{"no end of line", "a: 1====\nb: 2", "a: 1\n---\nb: 2"},
		{"markers", "---\na: 1\n====\n# c\n---\nb: 2\n...\n====\nc: 3\n", "---\na: 1\n# c\n---\nb: 2\n...\n---\nc: 3\n"},
		{"comments and nothing", "# a\n====\na: 1\n====\n====\n# b\n====\nb: 2\n", "# a\na: 1\n# b\n---\nb: 2\n"},
		{"byte order marks", "\ufeffa: 1\n====\n\ufeffb: 2\n====\n\ufeff---\nb: 2\n", "\ufeffa: 1\n---\nb: 2\n---\nb: 2\n"},
		{"json", "{\"a\":1}\n====\n{\"b\":2}\n====\nc: 3\n", "---\n{\"a\":1}\n---\n{\"b\":2}\n---\nc: 3\n"},
		{"nothing but json", "{\"a\":1}====\n{\"b\":2}\n====\n{\"c\":3} {}", "{\"a\":1}\n{\"b\":2}\n{\"c\":3} {}"},
		{"directives", "a: 1\n====\n%YAML 1.1\n---\nb: 2\n", "a: 1\n...\n%YAML 1.1\n---\nb: 2\n"},
		{"directives after an end", "a: 1\n...\n====\n%YAML 1.1\n---\nb: 2\n", "a: 1\n...\n%YAML 1.1\n---\nb: 2\n"},
	} {
		var files []*kubeyaml.File
		for _, in := range strings.Split(c.in, "====\n") {
			f, err := kubeyaml.Parse("f.yaml", []byte(in), kubeyaml.Options{Schemes: schemes})
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if got := write(t, nil, files...); got != c.want {
			t.Errorf("%s: got %q", c.name, got)
		}
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	list := "# before\nkind: List\nitems:\n# one\n- kind: A\n  metadata: {labels: {app: x}}\n  image: ko://a\n-   # two\n  kind: B\n  image: |\n    ko://b\n\n-\n  kind: C\n  metadata:\n    labels:\n      app: x\n  image: ko://c\n"
	for _, c := range []struct{ name, in, want, refs string }{
		{"documents", "# licence\n---\nmetadata: {labels: {app: x}}\na: ko://a\n---\nb: ko://b\n---\n# nothing\n---\nmetadata:\n  labels: {app: x, n: 1}\nc: ko://c\n", "# licence\n---\nmetadata: {labels: {app: x}}\na: ko://a\n---\nmetadata:\n  labels: {app: x, n: 1}\nc: ko://c\n", "ko://a ko://c"},
		{"first goes", "a: 1\n---\nmetadata: {labels: {app: x}}\n", "---\nmetadata: {labels: {app: x}}\n", ""},
		{"what it followed goes", "metadata: {labels: {app: x}}\n---\na: 1\n...\nmetadata: {labels: {app: x}}\n", "metadata: {labels: {app: x}}\n---\nmetadata: {labels: {app: x}}\n", ""},
		{"aliases", "x: &l {app: x}\nmetadata: {labels: *l}\n---\nx: &m {<<: {labels: {app: x}}}\nmetadata: *m\n---\nmetadata: null\n", "x: &l {app: x}\nmetadata: {labels: *l}\n---\nx: &m {<<: {labels: {app: x}}}\nmetadata: *m\n", ""},
		{"list", list, "# before\nkind: List\nitems:\n# one\n- kind: A\n  metadata: {labels: {app: x}}\n  image: ko://a\n-\n  kind: C\n  metadata:\n    labels:\n      app: x\n  image: ko://c\n", "ko://a ko://c"},
		{"list that goes on", "kind: PodList\nitems:\n- metadata: {labels: {app: x}}\n- {a: ko://b}\nb: ko://c\n...\n", "kind: PodList\nitems:\n- metadata: {labels: {app: x}}\nb: ko://c\n...\n", "ko://c"},
		{"end of list", "kind: PodList\nitems:\n- metadata: {labels: {app: x}}\n- {a: ko://b}\n...\n---\n", "kind: PodList\nitems:\n- metadata: {labels: {app: x}}\n...\n", ""},
		{"no list", "kind: Pod\nitems: []\n---\nkind: List\nitems: []\n---\nkind: List\nitems:\n- a: 1\n", "", ""},
		{"json", `{"kind":"List","items":[{"a":1}, {"a":"ko://a"} , {"metadata":{"labels":{"app":"x"}},"b":"ko://b"}, {"c":"ko://c"},{"metadata":{"labels":{"app":"x"}}} ,{"d":1} ],"e":"ko://e"}` + "\n{}\n" + `{"metadata":{"labels":{"app":"x"}},"i":"ko://i"}`,
			`{"kind":"List","items":[{"metadata":{"labels":{"app":"x"}},"b":"ko://b"},{"metadata":{"labels":{"app":"x"}}} ],"e":"ko://e"}` + "\n" + `{"metadata":{"labels":{"app":"x"}},"i":"ko://i"}`, "ko://b ko://e ko://i"},
		{"flow", "{kind: List, items: [{metadata: {labels: {app: x}}}]}\n", "{kind: List, items: [{metadata: {labels: {app: x}}}]}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, err := kubeyaml.Parse("f.yaml", []byte(c.in), kubeyaml.Options{Schemes: schemes, Select: func(l map[string]string) bool { return l["app"] == "x" }})
			if err != nil {
				t.Fatal(err)
			}
			if got := write(t, nil, f); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			var refs []string
			for _, r := range f.Refs {
				refs = append(refs, r.Text)
			}
			if got := strings.Join(refs, " "); got != c.refs {
				t.Errorf("references %s, want %s", got, c.refs)
			}
		})
	}
}

func TestBad(t *testing.T) {
	t.Parallel()
	some := func(l map[string]string) bool { return l["app"] == "x" }
	for _, c := range []struct {
		in, want string
		match    func(map[string]string) bool
	}{
		{"a: 1\n---\nb: 2\nc: [1\nd\n", "f.yaml:4: ", nil},
		{"a: *x\n", "f.yaml:1: unknown anchor 'x' referenced", nil},
		{"{} {a: 1}\n#\n", "f.yaml:1: did not find expected <document start>", nil},
		{"a: 1\n--- {} x\n", "f.yaml:2: ", nil},
		{"a: ko://\n", "f.yaml:1: ko:// names nothing", nil},
		{"a: |\n  ko://x\n  ko://y\n", `f.yaml:1: "ko://x\nko://y": a reference has no white space in it`, nil},
		{"a: \"\xff\"\n", "f.yaml:1: ", nil},
		{"\xff\xfea\x00", "f.yaml: it is UTF-16: want UTF-8", nil},
		{"a: " + strings.Repeat("x", kubeyaml.MaxDocument), "f.yaml:1: the document that begins here is larger than 8 MiB", nil},
		{strings.Repeat("[", 20_000), "f.yaml:1: ", nil},
		{"\n---\n[a]\n", "f.yaml:3: it is no object of Kubernetes: ", some},
		{"kind: List\nitems: [{metadata: {labels: {app: x}}}, {}]\n", "f.yaml:2: the selector takes only some items of this list: write it with a line for each (- apiVersion: …)", some},
		{"kind: List\nitems:\n- a: &a 1\n- b: *a\n  metadata: {labels: {app: x}}\n", "f.yaml:3: the selector takes only some items of this list, and others need what it leaves out", some},
		{"a:\n|\n  ko://x\n", `f.yaml:2: "ko://x" is written in a way that is not understood: write it plainly`, nil},
		{"a: >#-\n  ko://x\n", `f.yaml:1: "ko://x" is written in a way that is not understood: write it plainly`, nil},
		{"a:\n  &a\n  |\n  ko://x\n", `f.yaml:2: "ko://x" is written in a way that is not understood: write it plainly`, nil},
		{bomb(), "", nil},
		{"metadata: {labels: *i}\n", "f.yaml:1: unknown anchor 'i' referenced", some},
		{bomb() + "kind: List\nitems: *i\n", "f.yaml:9: it is no object of Kubernetes: ", some},
	} {
		_, err := kubeyaml.Parse("f.yaml", []byte(c.in), kubeyaml.Options{Schemes: schemes, Select: c.match})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%.40q: %v", c.in, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%.40q: got %v", c.in, err)
		case err != nil && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported):
			t.Errorf("%.40q: kind of %v", c.in, err)
		}
	}
}

// bomb means 10⁹ values.
func bomb() string {
	text := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'i'; c++ {
		text += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	return text
}
