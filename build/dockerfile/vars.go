// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/dray-tools/dray/oci"
)

// Vars are what a stage's instructions can refer to: variables of the
// environment, and arguments where there is no variable of that name
// (Dockerfile reference, "Using ARG variables").
type vars struct {
	env, args map[string]string
	folds     bool // the names are equal whatever their case, as on Windows
	longest   int  // value that was ever set
}

func (v vars) key(name string) string {
	if v.folds {
		return strings.ToUpper(name)
	}
	return name
}

// Get implements shell.EnvGetter.
func (v vars) Get(name string) (string, bool) {
	if value, ok := v.env[v.key(name)]; ok {
		return value, true
	}
	value, ok := v.args[v.key(name)]
	return value, ok
}

// Keys implements shell.EnvGetter.
func (v vars) Keys() []string {
	return slices.Concat(slices.Sorted(maps.Keys(v.env)), slices.Sorted(maps.Keys(v.args)))
}

func (v vars) clone() vars {
	return vars{env: maps.Clone(v.env), args: maps.Clone(v.args), folds: v.folds, longest: v.longest}
}

func (v *vars) setEnv(name, value string) {
	v.env[v.key(name)], v.longest = value, max(v.longest, len(value))
}

func (v *vars) setArg(name, value string) {
	v.args[v.key(name)], v.longest = value, max(v.longest, len(value))
}

// Bounds of what a few lines could otherwise make very large.
const (
	maxValue  = 128 << 10 // of a variable, as in Linux
	maxExpand = 64 << 20
)

// replaces finds ${NAME//PATTERN/TEXT}, which puts a text into a value any number
// of times. What is in braces itself counts to the end of the line.
var replaces = regexp.MustCompile(`\$\{\w+//[^{}\n]*(\}|[^\n]*)`)

// bounded is ErrInvalid if the expansion of a word could become very large.
func bounded(word string, v vars) error {
	dollars := strings.Count(word, "$")
	if dollars == 0 {
		return nil
	}
	most := dollars*v.longest + len(word)
	for _, r := range replaces.FindAllString(word, -1) {
		text := len(r)
		for range strings.Count(r, "$") - 1 { // variables in it, that may be replaced in themselves
			text = min(text*(v.longest+1), maxExpand)
		}
		if most += (v.longest + 1) * text; most > maxExpand {
			break
		}
	}
	if most > maxExpand {
		return oci.Errorf(oci.ErrInvalid, "%s: what the variables stand for can become too long", oci.Quote(short(word, 40)))
	}
	return nil
}

// expand puts in what the variables of a word stand for. unset are those that
// stand for nothing.
func expand(lex *shell.Lex, word string, v vars) (text string, used, unset map[string]struct{}, err error) {
	if err := bounded(word, v); err != nil {
		return "", nil, nil, err
	}
	r, err := lex.ProcessWordWithMatches(word, v)
	if err == nil && len(r.Result) > maxValue && len(r.Result) > len(word) {
		err = oci.Errorf(oci.ErrInvalid, "%s: it becomes a text of more than %d bytes", oci.Quote(short(word, 40)), maxValue)
	}
	return r.Result, r.Matched, r.Unmatched, err
}

// short cuts a text for an error.
func short(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
