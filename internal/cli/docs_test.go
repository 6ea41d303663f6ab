// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write docs/cookbook.md")

// chapters are the scripts that the cookbook is made of, in its order.
var chapters = []struct{ script, title string }{
	{"copy_plan", "See beforehand what a copy will do"},
	{"copy_unchanged", "Copy, and copy again"},
	{"copy_mount", "Promote from one repository to another"},
	{"copy_platform", "Take only some platforms"},
	{"copy_all_tags", "Mirror the tags of a repository"},
	{"copy_from_file", "Copy a list of images"},
	{"copy_referrers", "Bring signatures and SBOMs along"},
	{"copy_layout", "Carry images in a directory"},
	{"copy_archives", "Carry images in files"},
	{"pull_push", "Pull and push"},
	{"copy_compress", "Change compression and media types"},
	{"copy_no_clobber", "Never overwrite a release"},
	{"copy_pinned", "Pin what is copied"},
	{"inspect_text", "Look at an image"},
	{"inspect_format", "Use what an image says in scripts"},
	{"files", "List the files of an image"},
	{"cat", "Read one file"},
	{"diff", "See what differs between two images"},
	{"validate", "Check an image"},
	{"export", "Write an image's files as a tar"},
	{"unpack", "Unpack an image into a directory"},
	{"pack", "Make a layer from a directory"},
	{"append", "Put layers on an image"},
	{"append_inputs", "Make layers of directories, packed tars and other images"},
	{"append_index", "Build for all platforms of a base"},
	{"windows", "Make Windows images anywhere"},
	{"append_base_layers", "Refer to the layers of a base, or copy them"},
	{"mutate", "Change a config"},
	{"mutate_index", "Change all images of an index"},
	{"mutate_time", "Set times"},
	{"edit", "Change the JSON in an editor"},
	{"build", "Build an application"},
	{"build_go", "Build Go programs"},
	{"build_go_config", "Build Go programs as .ko.yaml says"},
	{"build_go_kodata", "Give a Go program its data"},
	{"build_go_together", "Put several programs into one image"},
	{"build_go_windows", "Build Go programs for Windows"},
	{"build_dockerfile", "Build a Dockerfile without a daemon"},
	{"build_windows", "Build for several versions of Windows"},
	{"build_files", "Make images of files and programs"},
	{"build_jar", "Take a jar apart"},
	{"build_spec", "Describe all builds of a repository"},
	{"build_sbom", "See what an image is made of"},
	{"resolve", "Put images into Kubernetes YAML"},
	{"resolve_apply", "Build and apply"},
	{"rebase", "Move an image to a new base"},
	{"rebase_index", "Rebase all platforms"},
	{"flatten", "Make fewer layers"},
	{"index", "Make an index"},
	{"index_filter", "Take images out of an index"},
	{"index_annotate", "Annotate an index"},
	{"index_spec", "Make an index from a file or a template"},
	{"raw", "Read manifests, configs and layers"},
	{"digest", "Resolve tags to digests"},
	{"ls_catalog", "List tags and repositories"},
	{"tag", "Give an image more tags"},
	{"delete_tag", "Delete tags and images"},
	{"referrers_tree", "See what refers to an image"},
	{"login_htpasswd", "Log in"},
	{"serve_directory", "Serve a directory as a registry"},
	{"serve_tls", "Serve with TLS"},
}

// cookbook renders the cookbook from scripts and their real output; without
// -update it fails if the file says something else. root is where they were run.
func cookbook(t *testing.T, root string) {
	if t.Failed() || strings.Contains(flag.Lookup("test.run").Value.String(), "/") { // not all were run
		return
	}
	var b strings.Builder
	b.WriteString("<!-- Rendered by `make docs` from the scripts in internal/cli/testdata/script. Do not edit. -->\n\n# Cookbook\n\n" +
		"Every command below is run by the tests, and what stands under it is what it said. Host names stand for\n" +
		"loopback registries of the tests. Where a command ends with another exit code than 0, a comment says so.\n" +
		"Digests that depend on the port of such a registry, as those of images that name their base, are shown as a…, b…\n\n")
	for _, c := range chapters {
		fmt.Fprintf(&b, "- [%s](#%s)\n", c.title, strings.ReplaceAll(strings.ToLower(regexp.MustCompile(`[^A-Za-z ]`).ReplaceAllString(c.title, "")), " ", "-"))
	}
	for _, c := range chapters {
		text := chapter(t, filepath.Join("testdata", "script", c.script+".txtar"), filepath.Join(root, "script-"+c.script))
		if strings.Contains(text, "dray append") || strings.Contains(text, "dray rebase") {
			text = short(text)
		}
		if strings.Contains(text, "dray build") || strings.HasPrefix(c.script, "resolve") { // what a Go compiler made is another with the next
			text = sizes.ReplaceAllString(programs.ReplaceAllString(short(moving.ReplaceAllString(text, "$1 …")), "      … $1"), "… $1")
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s", c.title, text)
	}
	path := filepath.Join("..", "..", "docs", "cookbook.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, _ := os.ReadFile(path)
	was, now := strings.Split(strings.ReplaceAll(string(have), "\r\n", "\n"), "\n"), strings.Split(b.String(), "\n")
	for i := range max(len(was), len(now)) {
		if i >= min(len(was), len(now)) || was[i] != now[i] {
			t.Fatalf("docs/cookbook.md is stale (run make docs): line %d is\n%s\nand would be\n%s", i+1, at(was, i), at(now, i))
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "missing"
}

var (
	sizes    = regexp.MustCompile(`[0-9.]+ (kB|MB)`)
	moving   = regexp.MustCompile(`(?m)^(sent|mounted|packing) sha256:[0-9a-f]+`) // in whatever order
	programs = regexp.MustCompile(`[0-9]{7} ([0-9TZ:-]+ /)`)
	digests  = regexp.MustCompile(`sha256:[0-9a-f]{12,64}`)
	keptFile = regexp.MustCompile(`dray-[0-9]+\.json`)
)

// short shows each digest as a letter of its own.
func short(text string) string {
	letters := map[string]string{}
	return digests.ReplaceAllStringFunc(text, func(s string) string {
		key := s[:len("sha256:")+12]
		if letters[key] == "" {
			letters[key] = "sha256:" + string(rune('a'+len(letters)%26)) + strings.Repeat("'", len(letters)/26) + "…"
		}
		return letters[key]
	})
}

// chapter renders one script: comments are prose, commands of dray are shown
// with their output, and files whose existence the script asks for. What follows
// a comment "# ---" is not shown.
func chapter(t *testing.T, script, dir string) string {
	t.Helper()
	a, err := txtar.ParseFile(script)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range a.Files {
		files[f.Name] = strings.TrimRight(string(f.Data), "\n")
	}
	tr := readTranscript(t, dir)
	var blocks, prose, code []string
	flush := func(list *[]string, before, after string) {
		if len(*list) > 0 {
			blocks = append(blocks, before+strings.Join(*list, "\n")+after)
			*list = nil
		}
	}
	stdin := ""
	lines := strings.Split(string(a.Comment), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		comment, isComment := strings.CutPrefix(line, "#")
		if strings.HasPrefix(line, "# ---") {
			break
		}
		if isComment && strings.TrimSpace(comment) != "" {
			flush(&code, "```console\n", "\n```")
			prose = append(prose, strings.TrimSpace(comment))
			continue
		}
		flush(&prose, "", "")
		if name, ok := strings.CutPrefix(line, "stdin "); ok {
			stdin = name
		}
		if m := isServe.FindStringSubmatch(line); m != nil {
			code = append(code, "$ dray serve "+strings.TrimSuffix(m[2], " --addr 127.0.0.1:0")+" &", tr.names[m[1]])
		}
		if name, ok := strings.CutPrefix(line, "exists "); ok {
			code = append(code, "$ cat "+name, tr.vars(files[name]))
		}
		if !isDray.MatchString(line) {
			continue
		}
		r := tr.next(t, line)
		shown := tr.vars(line[strings.Index(line, "dray "):])
		if stdin != "" {
			shown += " < " + stdin
			stdin = ""
		}
		for _, f := range a.Files {
			if text := files[f.Name]; text != "" && strings.Contains(" "+shown+" ", " "+f.Name+" ") {
				code = append(code, "$ cat "+f.Name, tr.vars(text))
				delete(files, f.Name)
			}
		}
		if name, ok := strings.CutPrefix(lines[i+1], "var "); ok {
			code = append(code, "$ "+name+"=$("+shown+")")
			continue
		}
		if r.Code != 0 {
			shown += fmt.Sprintf("   # exit code %d", r.Code)
		}
		code = append(code, strings.TrimRight("$ "+shown+"\n"+r.Out, "\n"))
	}
	flush(&prose, "", "")
	flush(&code, "```console\n", "\n```")
	return strings.Join(blocks, "\n\n") + "\n"
}

var (
	isDray  = regexp.MustCompile(`^(! |exits \d+ )?dray `)
	isServe = regexp.MustCompile(`^registry (\w+) (.+)$`)
)

// A transcript is what dray did in a script.
type transcript struct {
	records []record
	names   map[string]string // variables of the script
	replace *strings.Replacer
}

func readTranscript(t *testing.T, dir string) *transcript {
	t.Helper()
	tr := &transcript{names: map[string]string{}}
	raw, err := os.ReadFile(filepath.Join(dir, ".transcript"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Args[0] != "serve" || len(r.Args) > 1 && r.Args[1] == "gc" {
			tr.records = append(tr.records, r)
		}
	}
	pairs := []string{dir + string(filepath.Separator), "", dir, "."}
	raw, _ = os.ReadFile(filepath.Join(dir, ".transcript.names"))
	for line := range strings.Lines(string(raw)) {
		name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		tr.names[name] = strings.ToLower(name) + ".example"
		pairs = append(pairs, address, tr.names[name])
	}
	tr.replace = strings.NewReplacer(pairs...)
	return tr
}

var elapsed = regexp.MustCompile(`(?m) in [0-9.]+(ms|s)\b`)

// next is the record of the command of a line, without what every run has
// different.
func (tr *transcript) next(t *testing.T, line string) record {
	t.Helper()
	if len(tr.records) == 0 {
		t.Fatalf("nothing is recorded for %q", line)
	}
	r := tr.records[0]
	tr.records = tr.records[1:]
	for i, w := range strings.Fields(line[strings.Index(line, "dray "):]) {
		if i > 0 && i < 3 && !strings.ContainsAny(w, "'$\"") && (len(r.Args) < i || r.Args[i-1] != w) {
			t.Fatalf("%q is recorded as %q", line, r.Args)
		}
	}
	r.Out = elapsed.ReplaceAllString(tr.replace.Replace(r.Out), " in 0.1s")
	r.Out = keptFile.ReplaceAllString(r.Out, "dray-1.json")
	return r
}

// vars replaces the variables that registries gave; other ones are the
// reader's, as in a shell.
func (tr *transcript) vars(s string) string {
	return os.Expand(s, func(name string) string {
		if v, ok := tr.names[name]; ok {
			return v
		}
		return "$" + name
	})
}
