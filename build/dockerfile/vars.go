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
	return vars{env: maps.Clone(v.env), args: maps.Clone(v.args), folds: v.folds}
}

func (v vars) setEnv(name, value string) { v.env[v.key(name)] = value }
func (v vars) setArg(name, value string) { v.args[v.key(name)] = value }

// Bounds of what a few lines could otherwise make very large.
const (
	maxValue  = 128 << 10 // of a variable, as in Linux
	maxExpand = 64 << 20
)

// replaces finds ${NAME//, which puts a text into another any number of times.
var replaces = regexp.MustCompile(`\$\{\w+//`)

// bounded is ErrInvalid if the expansion of a word could become very large.
func bounded(word string, v shell.EnvGetter) error {
	dollars := strings.Count(word, "$")
	if dollars == 0 {
		return nil
	}
	longest := 0
	for _, k := range v.Keys() {
		value, _ := v.Get(k)
		longest = max(longest, len(value))
	}
	most := dollars*longest + len(word)
	for range replaces.FindAllStringIndex(word, -1) {
		if most *= longest + len(word); most > maxExpand {
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
func expand(lex *shell.Lex, word string, v shell.EnvGetter) (text string, used, unset map[string]struct{}, err error) {
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
