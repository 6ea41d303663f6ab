// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/cli"
)

// What docs/ko.md says of commands, flags and variables is there.
func TestKoPage(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "ko.md"))
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile("`([^`]+)`")
	kinds := map[string]int{}
	command := []string{"build", "go"}
	for line := range strings.Lines(strings.ReplaceAll(string(data), "\r\n", "\n")) {
		switch {
		case strings.HasPrefix(line, "## "):
			command = []string{"build", "go"}
		case strings.HasPrefix(line, "Those of `ko resolve`"):
			command = []string{"resolve"}
		case strings.HasPrefix(line, "Those of `ko login`"):
			command = []string{"login"}
		}
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(line, "| `") {
			continue
		}
		theirs, mine := cells[1], cells[2]
		if strings.TrimSpace(mine) == "the same" && !strings.Contains(theirs, "ko ") {
			mine = theirs
		}
		c, err := cli.Command(command...)
		if err != nil {
			t.Fatal(err)
		}
		help := c.Long
		root, err := cli.Command()
		if err != nil {
			t.Fatal(err)
		}
		help += root.Long
		for _, found := range word.FindAllStringSubmatch(mine, -1) {
			name := found[1]
			kind := "variable"
			ok := strings.Contains(help, name)
			switch {
			case strings.HasPrefix(name, "--"):
				kind, ok = "flag", c.Flag(name[2:]) != nil
			case strings.HasPrefix(name, "-"):
				kind, ok = "short flag", c.Flags().ShorthandLookup(name[1:]) != nil || name == "-v"
			case strings.HasPrefix(name, "dray "):
				kind = "command"
				words := strings.Fields(name)[1:]
				for i, w := range words {
					if strings.HasPrefix(w, "-") {
						words = words[:i]
						break
					}
				}
				_, err := cli.Command(words...)
				ok = err == nil
			case strings.Contains(theirs, "default") || strings.Contains(theirs, "builds"):
				continue // a key of .ko.yaml
			}
			kinds[kind]++
			if !ok {
				t.Errorf("docs/ko.md: %s: dray %s has no %s %s", strings.TrimSpace(theirs), strings.Join(command, " "), kind, name)
			}
		}
	}
	if kinds["flag"] < 25 || kinds["command"] < 8 || kinds["variable"] < 12 {
		t.Errorf("docs/ko.md: only %v are in the tables", kinds)
	}
}
