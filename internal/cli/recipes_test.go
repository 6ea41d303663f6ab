// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/cli"
)

// The commands of docs/recipes.md have flags that there are, and the server of the
// recipe is the one that a test runs.
func TestRecipes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), "\r\n", "\n")
	commands := 0
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "$ dray ")
		if !ok {
			continue
		}
		commands++
		args := append(strings.Fields(strings.ReplaceAll(rest, "'", "")), "--help")
		var out, errs bytes.Buffer
		code := cli.Main(args, cli.World{Out: &out, Err: &errs, Getenv: func(string) string { return "" }})
		if code != 0 || !strings.Contains(out.String(), "dray build files SRC[:DEST]... [flags]") {
			t.Errorf("%s: exit code %d: %s", line, code, errs.String())
		}
	}
	if commands < 10 {
		t.Errorf("%d commands", commands)
	}
	source, err := os.ReadFile(filepath.Join("..", "peers", "testdata", "recipes", "site", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(strings.ReplaceAll(string(source), "\r\n", "\n"), "\npackage main\n")
	if program == "" || !strings.Contains(text, "```go\npackage main\n"+program+"```") {
		t.Error("the server of docs/recipes.md is another one")
	}
}
