// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peers_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"
)

// A resolveCase is YAML that ko and dray resolve.
type resolveCase struct {
	name  string
	args  []string
	files string // as txtar, in the directory k
	known string // why the documents differ; "": they do not
	fails bool   // both refuse it
}

const resolveMany = `
-- k/a.yaml --
# The web server.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web, tier: front}}
spec:
    template:
        spec:
            containers:
            - name: web     # a comment
              image: ko://example.com/shop/cmd/app
              args: ["--image", "not ko://example.com/shop/cmd/app", 'KO://x', ko:/y]
            - {name: bare, image: "ko://example.com/shop/cmd/bare"}
---

---
# Only a comment.
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
  labels: {app: other}
data:
  block: |
    not ko://example.com/shop/cmd/app
  single: 'ko://example.com/shop/cmd/bare'
  number: 012
  yes: "yes"
-- k/b.json --
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "web"}},
 "spec": {"containers": [{"image": "ko://example.com/shop/cmd/bare"}, {"image": "busybox"}]}}
-- k/deep/c.yaml --
apiVersion: v1
kind: Pod
metadata: {name: deep, labels: {app: deep}}
spec: {containers: [{image: &same ko://example.com/shop/cmd/app}, {image: *same}]}
`

const resolvePod = `
-- k/a.yaml --
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: a}}
spec: {containers: [{image: ko://example.com/shop/cmd/bare}]}
`

var resolveCases = []resolveCase{
	{name: "directory", args: []string{"-f", "k"}, files: resolveMany},
	{name: "below", args: []string{"-R", "-f", "k"}, files: resolveMany},
	{name: "files", args: []string{"-f", "k/deep/c.yaml", "-f", "k/a.yaml"}, files: resolveMany},
	{name: "files-with-commas", args: []string{"-f", "k/deep/c.yaml,k/b.json"}, files: resolveMany},
	{name: "selected", args: []string{"-R", "-f", "k", "-l", "app=web"}, files: resolveMany},
	{name: "selected-by-two", args: []string{"-f", "k", "-l", "app==web,tier!=back"}, files: resolveMany},
	{name: "not-selected", args: []string{"-f", "k", "-l", "app!=web"}, files: resolveMany},
	{name: "set-selected", args: []string{"-R", "-f", "k", "-l", "app in (deep, other), tier"}, files: resolveMany},
	{name: "names", args: []string{"-f", "k", "-B", "--tags=v1,v2"}, files: resolveMany},
	{name: "paths", args: []string{"-f", "k", "-P"}, files: resolveMany},
	{name: "tag-only", args: []string{"-f", "k", "-B", "-t", "v1", "--tag-only"}, files: resolvePod},
	{name: "platforms", args: []string{"-f", "k", "--platform=linux/arm64,linux/amd64"}, files: resolvePod},
	{name: "list", args: []string{"-f", "k"}, files: "-- k/l.yaml --\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}, image: ko://example.com/shop/cmd/bare}\n"},
	{name: "folded", args: []string{"-f", "k"}, files: "-- k/f.yaml --\na: >-\n  ko://example.com/shop/cmd/bare\nb: \"ko://example.com/\\\n  shop/cmd/bare\"\n"},
	{name: "list-selected", args: []string{"-f", "k", "-l", "app=a"},
		files: "-- k/l.yaml --\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b, labels: {app: b}}}\n"},
	{name: "tag", args: []string{"-f", "k", "-B", "-t", "v1"}, files: resolvePod,
		known: "with one tag that is not latest ko writes REPOSITORY:TAG@DIGEST, dray REPOSITORY@DIGEST as always"},
	{name: "yml", args: []string{"-f", "k"}, files: strings.Replace(resolvePod, "a.yaml", "a.yml", 1) + "-- k/b.yaml --\na: 1\n",
		known: "in a directory ko passes over files .yml without a word"},
	{name: "key", args: []string{"-f", "k"}, files: "-- k/a.yaml --\nko://example.com/shop/cmd/bare: 1\n",
		known: "ko replaces keys too, dray values alone"},
	{name: "block", args: []string{"-f", "k"}, files: "-- k/a.yaml --\na: |\n  ko://example.com/shop/cmd/bare\n"},
	{name: "no-program", args: []string{"-f", "k"}, files: resolvePod + "-- k/z.yaml --\nimage: ko://example.com/shop/lib\n", fails: true},
	{name: "no-package", args: []string{"-f", "k"}, files: resolvePod + "-- k/z.yaml --\nimage: ko://example.com/shop/none\n", fails: true},
	{name: "no-yaml", args: []string{"-f", "k"}, files: resolvePod + "-- k/z.yaml --\na: [\n", fails: true},
	{name: "no-file", args: []string{"-f", "none.yaml"}, files: resolvePod, fails: true},
	{name: "no-selector", args: []string{"-f", "k", "-l", "a in"}, files: resolvePod, fails: true},
}

var (
	digested = regexp.MustCompile(`@sha256:[0-9a-f]{64}`)
	programs = regexp.MustCompile(`REPO/(app|bare)-[0-9a-f]{32}@sha256:[0-9a-f]{64}`)
)

// YAML becomes what ko makes of it, document by document, with the same
// references in the same places; and dray leaves all other bytes alone.
func TestKoResolve(t *testing.T) {
	t.Parallel()
	l := newKoLab(t)
	for _, c := range resolveCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := &koCase{name: "resolve-" + c.name}
			dir := l.module(t, k)
			for _, f := range txtar.Parse([]byte(c.files)).Files {
				name := filepath.Join(dir, f.Name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, f.Data, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			var outs, says [2]string
			var errs [2]error
			for n, builder := range []string{drayBin, l.ko} {
				repo := l.registry + "/" + []string{"dray", "ko"}[n] + "-" + c.name
				outs[n], says[n], errs[n] = l.within(t, dir, k, builder, append([]string{"resolve"}, c.args...), "KO_DOCKER_REPO="+repo)
				outs[n] = strings.ReplaceAll(outs[n], repo, "REPO")
			}
			if c.fails {
				if errs[0] == nil || errs[1] == nil || outs[0] != "" {
					t.Errorf("dray: %v: %s%s\nko: %v: %s", errs[0], outs[0], says[0], errs[1], says[1])
				}
				return
			}
			if err := errors.Join(errs[0], errs[1]); err != nil {
				t.Fatalf("dray: %v: %s\nko: %v: %s", errs[0], says[0], errs[1], says[1])
			}
			mine, theirs := documents(t, outs[0]), documents(t, outs[1])
			switch {
			case c.known != "" && mine == theirs:
				t.Errorf("the known difference does not occur: %s: %s", c.known, mine)
			case c.known == "" && mine != theirs:
				t.Errorf("dray:\n%s\nko:\n%s", mine, theirs)
			}
			if c.name == "directory" { // the files one after the other
				a, b := read(t, filepath.Join(dir, "k", "a.yaml")), read(t, filepath.Join(dir, "k", "b.json"))
				back := programs.ReplaceAllString(outs[0], "ko://example.com/shop/cmd/$1")
				if want := a + "---\n" + strings.TrimSpace(b); back != want {
					t.Errorf("dray changes more than references:\n%s\nwant\n%s", back, want)
				}
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// documents are those of a stream that say something, as JSON, one a line. The
// digests of images are not compared.
func documents(t *testing.T, stream string) string {
	t.Helper()
	var lines []string
	for d := yaml.NewDecoder(strings.NewReader(digested.ReplaceAllString(stream, "@DIGEST"))); ; {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			return strings.Join(lines, "\n")
		}
		if err != nil {
			t.Fatalf("%v: %s", err, stream)
		}
		if v == nil {
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(raw))
	}
}
