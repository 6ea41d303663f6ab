// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"
	"strings"
	"unicode"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/layer"
)

// taken tells which names at its top an image may have something at, as far as
// its config and history say: one that they mention, and every one if a layer
// says nothing about itself. It depends on the image alone. See decision 15.
func taken(i *edit.Image) func(top string) bool {
	all := func(string) bool { return true }
	config, err := i.Config()
	if err != nil {
		return all
	}
	layers, history := len(i.Layers()), i.History()
	n := 0
	for _, line := range history {
		if line.EmptyLayer {
			continue
		}
		if !tells(line.CreatedBy, n) {
			return all
		}
		n++
	}
	if n != layers {
		return all
	}
	names := map[string]bool{}
	c := config.Config
	words := slices.Concat([]string{c.WorkingDir}, c.Entrypoint, c.Cmd, c.Env)
	for v := range c.Volumes {
		words = append(words, v)
	}
	for _, line := range history {
		words = append(words, line.CreatedBy, line.Comment)
	}
	for k, v := range c.Labels {
		for _, text := range []string{k, v} { // of prose only paths
			for _, part := range strings.Split(text, "/")[1:] {
				words = append(words, part[:wordEnd(part)])
			}
		}
	}
	for _, text := range words {
		for _, w := range wordsOf(text) {
			names[w] = true
			names[strings.TrimRight(w, ".")] = true
		}
	}
	return func(top string) bool {
		parts := wordsOf(top)
		return !slices.ContainsFunc(parts, func(w string) bool { return !names[w] })
	}
}

// wordsOf cuts a text where no name of a file goes on, as names mostly are.
func wordsOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !ofName(r) })
}

func wordEnd(text string) int {
	if n := strings.IndexFunc(text, func(r rune) bool { return !ofName(r) }); n >= 0 {
		return n
	}
	return len(text)
}

func ofName(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r)
}

// tells reports whether a line of history names what its layer, number n, brings at the top of the image. The lowest one is taken for that of a
// distribution, if somebody said anything of it. Above it only COPY, ADD and
// WORKDIR name it; a script that RUN starts can make anything anywhere.
func tells(by string, n int) bool {
	switch {
	case strings.HasPrefix(by, "dray append "), strings.HasPrefix(by, "dray build "):
		_, names, ok := cutLast(by, ": ")
		return ok && !strings.Contains(names, layer.MoreTops)
	case strings.HasPrefix(by, "dray "), by == "", by == "unknown":
		return false
	case n == 0:
		return true
	}
	by, _, _ = strings.Cut(by, " # ")
	f := strings.Fields(strings.TrimPrefix(by, "/bin/sh -c #(nop)"))
	return len(f) > 1 && slices.Contains([]string{"COPY", "ADD", "WORKDIR"}, f[0]) && !slices.Contains([]string{"/", "./", "."}, f[len(f)-1])
}

func cutLast(s, sep string) (before, after string, found bool) {
	if n := strings.LastIndex(s, sep); n >= 0 {
		return s[:n], s[n+len(sep):], true
	}
	return s, "", false
}
