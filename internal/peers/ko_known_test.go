// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peers_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateKo = flag.Bool("update-ko", false, "write the table of docs/ko.md")

// A koDifference is one that is meant.
type koDifference struct {
	cases string // by their names; *: all that both build, without those after -
	what  string // with * at the end: what begins so
	why   string
}

func (d koDifference) in(c *koCase) bool {
	words := strings.Fields(d.cases)
	if words[0] == "*" {
		return !c.taken && !slices.Contains(words, "-"+c.name)
	}
	return slices.Contains(words, c.name)
}

func (d koDifference) is(what string) bool {
	begin, any := strings.CutSuffix(d.what, "*")
	return what == d.what || any && strings.HasPrefix(what, begin)
}

// Cases that have something in common.
const (
	koIndexes = "app import-path no-kodata config config-environment flags variants windows"
	koBare    = "ko-scheme no-kodata windows-path"
	koLinked  = "link-of-the-base config-default"
	koWindows = "windows windows-path"
)

var koDifferences = []koDifference{
	{"*", "config author", "ko writes its own name where the author's belongs; dray leaves the base's author, and --author sets one"},
	{"* -times", "created", "without SOURCE_DATE_EPOCH ko says year 1; dray says nothing if the base says nothing"},
	{"*", "history, times", "the same; and ko gives the line of kodata the time of KO_DATA_DATE_EPOCH, dray all new lines that of SOURCE_DATE_EPOCH"},
	{"*", "history, texts", "each names itself; comments and authors of history lines are not written"},
	{koIndexes, "index descriptor artifactType", "ko writes the config's media type of ordinary images into their descriptors"},
	{koIndexes, "index annotation org.opencontainers.image.base.digest", "ko's is the digest of an index that it has changed itself and that is nowhere; dray's is what the registry serves"},
	{koBare, "layers", "ko puts an empty layer on the base if there is no kodata"},
	{koBare, "history, lines", "the line of that layer"},
	{koBare, "env KO_DATA_PATH", "it would name a directory that is not there"},
	{"* -link-of-the-base -config-default -windows -ko-scheme -no-kodata -windows-path", "kodata layer /var", "ko gives directories that the base has a new mode and owner"},
	{"* -link-of-the-base -config-default -windows -ko-scheme -no-kodata -windows-path", "kodata layer /var/run", "the same"},
	{koLinked, "kodata layer /var*", "the base has a link /var/run -> /run, which ko replaces with a directory: what the base has in /run is not in /var/run any more"},
	{koLinked, "kodata layer /run/ko*", "dray follows the link"},
	{koLinked + " windows-path", "annotation org.opencontainers.image.base.*", "Docker's manifests have no annotations; ko writes them there too"},
	{koWindows, "program layer /Files*", "the file is called .exe, without which Windows starts no program; directories have the form of Windows' own layers"},
	{koWindows, "program layer /Hives*", "the form of Windows' own layers"},
	{"windows", "kodata layer /Files*", "the same; files below Files/var are those of ko"},
	{"windows", "kodata layer /Hives*", "the same"},
	{koWindows, "config Entrypoint", "with .exe"},
	{koWindows, "env PATH", "without PATH in the base ko hides System32; with one it adds a second PATH, as on Windows the case of names means nothing"},
	{"windows-path", "env Path", "dray adds the directory of the program with a semicolon"},
	{"kodata-link-in-the-module", "refuses it", "ko 0.19 takes no link that leads out of kodata; dray takes those that stay in the repository or module, and refuses all others, as ko does"},
}

// The table in the documentation is this one.
func TestKoKnownDifferences(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- differences: go test ./internal/peers -run TestKoKnownDifferences -update-ko -->\n", "<!-- end -->"
	file := filepath.Join("..", "..", "docs", "ko.md")
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(have), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	var b strings.Builder
	b.WriteString(before + begin + "\n| what | why |\n| --- | --- |\n")
	for _, d := range koDifferences {
		b.WriteString("| " + d.what + " | " + d.why + " |\n")
	}
	b.WriteString("\n" + end + after)
	if b.String() == string(have) {
		return
	}
	if !*updateKo {
		t.Fatalf("%s is not what the tests say: run them with -update-ko", file)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every command, flag and variable of ko is on the page.
func TestKoPage(t *testing.T) {
	t.Parallel()
	ko := need(t, "ko")
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "ko.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	flags := regexp.MustCompile(`(?m)^ +(?:(-[A-Za-z]), +)?(--[a-z][a-z-]*)`)
	n := 0
	for _, sub := range regexp.MustCompile(`(?m)^  ([a-z]+) {2,}`).FindAllStringSubmatch(command(t, ko, "--help"), -1) {
		if sub[1] == "help" {
			continue
		}
		if !strings.Contains(page, "| `ko "+sub[1]+"`") {
			t.Errorf("ko %s is not on the page", sub[1])
		}
		if sub[1] == "completion" {
			continue
		}
		for _, f := range flags.FindAllStringSubmatch(command(t, ko, sub[1], "--help"), -1) {
			cell := "`" + f[2] + "`"
			if f[1] != "" {
				cell = "`" + f[1] + "`, " + cell
			}
			if n++; !strings.Contains(page, "| "+cell) {
				t.Errorf("%s of ko %s is not on the page", cell, sub[1])
			}
		}
	}
	if n < 60 {
		t.Errorf("ko has only %d flags", n)
	}
}
