// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/build/spec"
	"github.com/dray-tools/dray/oci"
)

var update = flag.Bool("update", false, "write the schema and the tables of the documentation anew")

var environment = map[string]string{"TAG": "1.2", "REGISTRY": "registry.example", "EMPTY": ""}

func getenv(name string) string { return environment[name] }

func parse(t *testing.T, name, text string) (*spec.File, error) {
	t.Helper()
	return spec.Parse(name, []byte(text), spec.Options{Getenv: getenv})
}

// said is what a build says, a line for each thing.
func said(b spec.Build) (all []string) {
	for _, a := range b.Args {
		all = append(all, filepath.ToSlash(a))
	}
	for _, s := range b.Settings {
		all = append(all, "--"+s.Key.Flag+" "+s.Value)
	}
	return all
}

const whole = `
version: 1
defaults:
  from: ${REGISTRY}/base:${NONE:-1}
  platforms: [linux/amd64, linux/arm64]
  env: {A: 1, B: "${TAG}"}
  user: 65532
builds:
  - name: api
    kind: go
    main: [./cmd/api, "github.com/x/y", /abs/z]
    tags: ["${REGISTRY}/api:${TAG}", "oci:out"]
    env: {A: 1.10}
    labels: {cost: $$5, empty: ""}
    entrypoint: [/api, true, 8080, ""]
    cmd: []
    ports: [8080, 53/udp]
    sbom: spdx
    provenance: false
  - {name: web, kind: files, platforms: linux/s390x, files: [{from: public, to: /srv, owner: "1:2", mode: 0644}, {from: ../up, to: /up, keep: [times, owner]}]}
  - {name: here, kind: dockerfile, user: root}
  - {name: there, kind: dockerfile, context: sub/}
  - {name: jar, kind: jar, jar: target/app.jar, mode: thin, mainClass: a.B, jvmFlags: [-Xmx1g], appRoot: /srv}
  - {name: tools, kind: go, main: ./..., flags: [-tags=netgo, "-tags=${TAG}"], ldflags: "-s -w -X v=${TAG} -X w=${NONE:-dev} -X d=$$", capabilities: net_raw, files: [{from: data, mode: "a=rX"}]}
  - {name: odd, kind: dockerfile, healthcheck: {Test: [CMD, /x, 1], Interval: 30s, Retries: 3}, caCerts: [certs/a.pem, /b.pem], deep: true, unset: onbuild, removeEnv: [A, B], sbomTag: true}
  - {name: file, kind: dockerfile, dockerfile: sub/web.Dockerfile, target: site, args: {V: "${TAG}"}, contexts: {src: ../src, img: docker-image://x, abs: /y, git: git@x:y}}
`

func TestParse(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]map[string][]string{
		"": {
			"api": {"./cmd/api", "github.com/x/y", "/abs/z", "--from registry.example/base:1", "--platform linux/amd64", "--platform linux/arm64", "--env A=1", "--env B=${TAG}", "--user 65532",
				"--tag registry.example/api:1.2", "--tag oci:out", "--env A=1.10", "--label cost=$5", "--label empty=", `--entrypoint ["/api","true","8080",""]`, "--cmd []",
				"--exposed-port 8080", "--exposed-port 53/udp", "--sbom spdx", "--provenance false"},
			"web":   {"./public:/srv,chown=1:2,chmod=0644", "../up:/up,keep-times,keep-owner", "--from registry.example/base:1", "--env A=1", "--env B=${TAG}", "--user 65532", "--platform linux/s390x"},
			"here":  {".", "--from registry.example/base:1", "--platform linux/amd64", "--platform linux/arm64", "--env A=1", "--env B=${TAG}", "--user root"},
			"there": {"./sub", "--from registry.example/base:1", "--platform linux/amd64", "--platform linux/arm64", "--env A=1", "--env B=${TAG}", "--user 65532"},
			"jar":   {"./target/app.jar", "--from registry.example/base:1", "--platform linux/amd64", "--platform linux/arm64", "--env A=1", "--env B=${TAG}", "--user 65532", "--mode thin", "--main-class a.B", `--jvm-flags ["-Xmx1g"]`, "--app-root /srv"},
			"tools": {"./...", "--from registry.example/base:1", "--platform linux/amd64", "--platform linux/arm64", "--env A=1", "--env B=${TAG}", "--user 65532", "--go-flag -tags=netgo", "--go-flag -tags={{.Env.TAG}}", "--ldflags -s -w -X v={{.Env.TAG}} -X w=dev -X d=$", "--capability net_raw", "--file ./data,chmod=a=rX"},
			"file":  {".", "--from registry.example/base:1", "--platform linux/amd64", "--platform linux/arm64", "--env A=1", "--env B=${TAG}", "--user 65532", "--file ./sub/web.Dockerfile", "--target site", "--build-arg V=1.2", "--build-context src=../src", "--build-context img=docker-image://x", "--build-context abs=/y", "--build-context git=git@x:y"},
		},
		"x/":     {"odd": {"./x", "--from registry.example/base:1", "--platform linux/amd64", "--platform linux/arm64", "--env A=1", "--env B=${TAG}", "--user 65532", `--healthcheck {"Interval":"30s","Retries":3,"Test":["CMD","/x","1"]}`, "--ca-certs ./x/certs/a.pem", "--ca-certs /b.pem", "--deep true", "--unset onbuild", "--remove-env A", "--remove-env B", "--sbom-tag true"}},
		"a/b/":   {"web": nil},
		"../a/":  {"here": nil},
		"/root/": {"there": nil},
	} {
		f, err := parse(t, filepath.FromSlash(dir+"dray.yaml"), whole)
		if err != nil {
			t.Fatal(err)
		}
		paths := map[string]string{}
		for _, b := range f.Builds {
			got := said(b)
			paths[b.Name] = got[0]
			if want := want[b.Name]; want != nil && !slices.Equal(got, want) {
				t.Errorf("%s%s:\n got %q\nwant %q", dir, b.Name, got, want)
			}
		}
		first := map[string][]string{"a/b/": {"./a/b/public:/srv,chown=1:2,chmod=0644", "./a/b", "./a/b/sub"}, "../a/": {"../a/public:/srv,chown=1:2,chmod=0644", "../a", "../a/sub"},
			"/root/": {"/root/public:/srv,chown=1:2,chmod=0644", "/root", "/root/sub"}}[dir]
		if got := []string{paths["web"], paths["here"], paths["there"]}; first != nil && !slices.Equal(got, first) {
			t.Errorf("%s: %q", dir, got)
		}
	}
}

// What a text with dollars in it is.
func TestVariables(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a${TAG}b": "a1.2b", "$$": "$", "$${TAG}": "${TAG}", "${TAG}${TAG}": "1.21.2", "${NO:-}x": "x", "${EMPTY:-y}": "y", "${NO:-a:b}": "a:b", "a$$$$b": "a$$b",
		"$TAG": "", "a$": "", "${": "", "${}": "", "${1}": "", "${NO}": "", "${EMPTY}": "", "${TAG": "", "${NO:-": "", "${NO-x}": "",
	} {
		f, err := parse(t, "d", "version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {k: '"+text+"'}}]")
		if want == "" {
			if !errors.Is(err, oci.ErrInvalid) || !strings.HasPrefix(err.Error(), "d:2:") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err != nil || f.Builds[0].Settings[0].Value != "k="+want {
			t.Errorf("%s: %v, %+v", text, err, f)
		}
	}
}

// wrong are files that are refused, with what the error says.
var wrong = map[string]string{
	"":                                 "it is empty",
	"builds: [{name: a, kind: go}]":    "d:1:1: no version",
	"version: 2\nbuilds: []":           "d:1:10: version: want 1",
	"version: '1'\nbuilds: []":         "d:1:10: version: want 1",
	"version: 1.0\nbuilds: []":         "d:1:10: version: want 1",
	"version: 1":                       "d:1:1: no builds",
	"version: 1\nbuilds: []":           "d:2:9: no builds",
	"version: 1\nbuilds: {}":           "d:2:9: builds: want a list",
	"version: 1\nbuild: []":            `d:2:1: no such key here: "build"; is it builds?`,
	"version: 1\nversion: 1":           "d:2:1: the key \"version\" is there twice",
	"- a":                              "d:1:1: want keys with values",
	"version: 1\nbuilds: [a]":          "d:2:10: builds: want keys with values",
	"version: 1\nbuilds: [a\n":         "d:2: ",
	"version: 1\nbuilds: [{kind: go}]": "d:2:10: a build without name",
	"version: 1\nbuilds: [{name: a}]":  "d:2:10: a build without kind: want one of go, dockerfile, files, jar",
	"version: 1\nbuilds: [{name: a/b, kind: dockerfile}]":                                                 `d:2:17: name "a/b": want letters`,
	"version: 1\nbuilds: [{name: a, kind: golang}]":                                                       `d:2:26: kind "golang": want one of`,
	"version: 1\nbuilds: [{name: a, kind: go}]":                                                           "d:2:10: a build of the kind go needs main",
	"version: 1\nbuilds: [{name: a, kind: files}]":                                                        "needs files",
	"version: 1\nbuilds: [{name: a, kind: jar}]":                                                          "needs jar",
	"version: 1\nbuilds: [{name: a, kind: go, main: []}]":                                                 "d:2:36: main: an empty list",
	"version: 1\nbuilds: [{name: a, kind: files, files: []}]":                                             "d:2:40: files: an empty list",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{to: /x}]}]":                                     "d:2:41: no from",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, to: /y, chown: 1}]}]":                  `no such key here: "chown"`,
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, to: 'a:b'}]}]":                         "has a colon",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, owner: me}]}]":                         "want UID:GID",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, owner: 1}]}]":                          "want UID:GID",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, mode: '9'}]}]":                         "d:2:57: mode: ",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: 'ab:c'}]}]":                               "d:2:41: from: \"./ab:c\" has a colon",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: 'a,keep-owner'}]}]":                       "has a colon or comma",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, keep: [mode]}]}]":                      "d:2:58: keep: want some of modes, owner, times",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, keep: owner}]}]":                       "want a list",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, keep: []}]}]":                          "an empty list",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: x, keep: [owner], owner: '1:2'}]}]":       "want one of them",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, healthcheck: [a]}]":                                 "want keys with values",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, healthcheck: {Test: {a: b}}}]":                      "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, healthcheck: {Test: [[a]]}}]":                       "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, debug: true}]":                                      "debug is for builds of the kind go",
	"version: 1\nbuilds: [{name: a, kind: files, files: [x]}]":                                            "want keys with values",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, main: ./x}]":                                        "d:2:38: main is for builds of the kind go, not dockerfile",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, lables: {}}]":                                       "is it labels?",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: [a]}]":                                      "want keys with values",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {a=b: c}}]":                                 "no = in it",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {a: }}]":                                    "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {a: [b]}}]":                                 "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {'': b}}]":                                  "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {a: b, a: c}}]":                             "is there twice",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {a: '${NONE}'}}]":                           "the variable NONE is not set",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, entrypoint: /app}]":                                 "d:2:50: entrypoint: want a list, as [/app]",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, entrypoint: [[a]]}]":                                "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, provenance: yes}]":                                  "want true or false",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, provenance: 'true'}]":                               "want true or false",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, user: ''}]":                                         "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, user: [a]}]":                                        "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, tags: {a: b}}]":                                     "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, from: null}]":                                       "want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile},{name: a, kind: dockerfile}]":                       `there are two builds "a"`,
	"version: 1\nbuilds: [{name: a, kind: dockerfile}]\n---\nversion: 1":                                  "a second document",
	"version: 1\nbuilds: [{name: a, kind: dockerfile}]\n---\n[":                                           "d:",
	"version: 1\ndefaults: {tags: x}\nbuilds: [{name: a, kind: dockerfile}]":                              "d:2:12: tags is of one build",
	"version: 1\ndefaults: {name: x}\nbuilds: [{name: a, kind: dockerfile}]":                              "no such key here",
	"version: 1\ndefaults: &x {user: a}\nbuilds: [{name: a, kind: dockerfile}]":                           "anchors and aliases are not taken",
	"version: 1\nbuilds: [&x {name: a, kind: dockerfile}, *x]":                                            "anchors and aliases",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, <<: {user: a}}]":                                    "anchors and aliases",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, user: !!binary aGk=}]":                              "the tag",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, user: !x y}]":                                       "the tag",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, cmd: httpd -f}]":                                    "d:2:43: cmd: want a list, as [httpd, -f]",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, cmd: 'sh -c \"x y\"'}]":                             "d:2:43: cmd: want a list",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, ports: {a: b}}]":                                    "d:2:45: ports: want text, or a list of them",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, ports: [[1]]}]":                                     "d:2:46: ports: want text",
	"version: 1\nbuilds: [a, {name: a, kind: dockerfile}]":                                                "d:2:10: builds: want keys with values",
	"version: 1\nbuilds: [{name: a, kind: dockerfile}, a]":                                                "d:2:39: builds: want keys with values",
	"version: 1\nbuilds: [{name: [], kind: dockerfile}]":                                                  "d:2:17: name: want text",
	"version: 1\nbuilds: [{name: a, kind: files, files: [{from: [a]}]}]":                                  "d:2:48: files: from: want text",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, env: {1: 2}}]":                                      `d:2:44: env: the key "1" is no text in YAML: want it in quotes`,
	"version: 1\nbuilds: [{name: a, kind: dockerfile, env: {true: 2}}]":                                   "is no text in YAML",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, env: {A: .inf}}]":                                   "d:2:47: env: A: want text: .inf is a number here, unless it is in quotes",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, cmd: [-.Inf]}]":                                     "-.Inf is a number here",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, user: .NaN}]":                                       "user: want text: .NaN is a number",
	"version: 1\nbuilds: [{name: a, kind: go, main: ./x, ldflags: '-X a=$TAG'}]":                          "d:2:50: \"-X a=$TAG\": want ${NAME}",
	"version: 1\nbuilds: [{name: a, kind: go, main: ./x, ldflags: '-X a=${NONE}'}]":                       "the variable NONE is not set",
	"version: 1\nbuilds:\n- name: a\n  kind: dockerfile\n  cmd: [a,\n    b]\n user: x\n":                  "d:7: did not find expected key",
	"version: 1\nbuilds:\n- name: a\n  kind: dockerfile\n  env:\n    A: 1\n   ports: 80\n  user: x\n":     "d:7: ",
	"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nversion: 1":                                               "d:1:1: no such key",
	"version: 1\nbuilds: [{name: a, kind: dockerfile}]\nx: " + strings.Repeat("[", 9000):                  "d:",
	"version: 1\nbuilds: [{name: a, kind: dockerfile, labels: {" + strings.Repeat("a: b, ", 9999) + "}}]": "is there twice",
}

func TestBad_DrayYAML(t *testing.T) {
	t.Parallel()
	for text, want := range wrong {
		f, err := parse(t, "d", text)
		if err == nil || !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.200s\n got %v\nwant %s\n%+v", text, err, want, f)
		}
	}
	large := "version: 1\n# " + strings.Repeat("x", spec.MaxSize)
	if _, err := parse(t, "d", large); !errors.Is(err, oci.ErrInvalid) {
		t.Error(err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	f, err := parse(t, "d", whole)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Choose("web", "api")
	if err != nil || len(got) != 2 || got[0].Name != "web" || got[1].Name != "api" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = f.Choose(); err != nil || len(got) != 8 {
		t.Errorf("%+v, %v", got, err)
	}
	for want, names := range map[string][]string{`is it "web"?`: {"wbe"}, "it has api, web, here, there, jar, tools, odd, file": {"elsewhere"}, "named twice": {"web", "web"}} {
		if _, err := f.Choose(names...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", names, err)
		}
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(spec.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(spec.SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(spec.SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// beyond is what is wrong in a way that a schema cannot see: it knows values, and
// neither how they are written nor the environment.
var beyond = regexp.MustCompile(`after a dollar|is no text in YAML|is a number here|twice|two builds|: mode: |anchors|the tag|is not set|second document|^d: it is empty|^d:\d+: `)

// The schema and the reader agree about what is right and what is wrong.
func TestSchemaAgrees(t *testing.T) {
	t.Parallel()
	s := schema(t)
	check := func(text string) error { return valid(s, text) }
	if err := check(whole); err != nil {
		t.Errorf("%v", err)
	}
	for text := range wrong {
		_, err := parse(t, "d", text)
		if err == nil || beyond.MatchString(err.Error()) || strings.Contains(text, "version: 1.0") { // which is the number 1
			continue
		}
		if check(text) == nil {
			t.Errorf("the schema takes what the reader refuses: %s\n%v", text, err)
		}
	}
}

// valid reports what a schema has against YAML.
func valid(s *jsonschema.Schema, text string) error {
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// The published schema is that of the program.
func TestSchemaFile(t *testing.T) {
	t.Parallel()
	golden(t, filepath.Join("..", "..", "schema", "dray.schema.json"), spec.Schema())
}

func golden(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")), want) {
		t.Errorf("%s is stale: go test ./build/spec -update (%v)", path, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	for text := range wrong {
		if len(text) < 1000 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := spec.Parse("d", raw, spec.Options{Getenv: getenv})
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, b := range file.Builds {
			if b.Name == "" || !slices.Contains(spec.Kinds, b.Kind) || b.Kind != spec.Files && len(b.Args) == 0 {
				t.Errorf("%+v", b)
			}
			for _, s := range b.Settings {
				if s.Key == nil || s.Key.Flag == "" || s.At == "" {
					t.Errorf("%+v", s)
				}
			}
		}
	})
}
