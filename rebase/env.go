// SPDX-License-Identifier: Apache-2.0

package rebase

import (
	"slices"
	"strings"
)

// An environment is a list of KEY=VALUE, of which the last with a key counts.
type environment struct {
	keys    []string // in their order
	entries map[string]string
	fold    bool // of Windows, where the case of keys does not count
}

func newEnvironment(list []string, fold bool) environment {
	e := environment{entries: map[string]string{}, fold: fold}
	for _, entry := range list {
		k := e.key(entry)
		if _, ok := e.entries[k]; !ok {
			e.keys = append(e.keys, k)
		}
		e.entries[k] = entry
	}
	return e
}

func (e environment) key(entry string) string {
	k, _, _ := strings.Cut(entry, "=")
	if e.fold {
		k = strings.ToUpper(k)
	}
	return k
}

// value is what follows the equals sign.
func value(entry string) string {
	_, v, _ := strings.Cut(entry, "=")
	return v
}

// mergeEnv merges three environments variable by variable, and tells what it
// did. In the result the base's variables come first, if the application has
// them so, as builders do.
func mergeEnv(old, app, onto environment) (out []string, changes []Change) {
	result := map[string]string{}
	for _, k := range union(onto.keys, app.keys, old.keys) {
		entry, c := mergeVariable(old, app, onto, k)
		if entry != "" {
			result[k] = entry
		}
		if c.Took != "" {
			changes = append(changes, c)
		}
	}
	order := app.keys
	if slices.Equal(app.keys, union(shared(old.keys, app), app.keys)) {
		order = union(onto.keys, app.keys)
	} else {
		order = weave(order, onto.keys, result)
	}
	for _, k := range order {
		if entry, ok := result[k]; ok {
			out = append(out, entry)
		}
	}
	return out, changes
}

// mergeVariable merges one variable; its Took is "" if there is nothing to say.
func mergeVariable(old, app, onto environment, k string) (string, Change) {
	o, a, n := old.entries[k], app.entries[k], onto.entries[k]
	isPath := k == "PATH" // or in any case where that does not count
	show := func(entry string) string {
		if isPath || entry == "" {
			return shorten(value(entry))
		}
		return Hidden
	}
	c := Change{Field: "env " + k, Old: show(o), App: show(a), New: show(n)}
	switch {
	case a == o && a == n:
		return a, Change{}
	case a == o:
		c.Took = Base
		return n, c
	case n == o || n == a:
		return a, Change{}
	}
	c.Took, c.Conflict = App, true
	if isPath && a != "" && n != "" {
		sep := ":"
		if app.fold {
			sep = ";"
		}
		if p, ok := mergePath(value(o), value(a), value(n), sep); ok {
			name, _, _ := strings.Cut(a, "=")
			c.Took, c.Conflict = Both, false
			return name + "=" + p, c
		}
	}
	return a, c
}

// mergePath puts the members of the new base's path in the place of those of
// the old one's, between what the application has put before and after them.
// false if they are not in the application's in one piece.
func mergePath(old, app, onto, sep string) (string, bool) {
	split := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(s, sep)
	}
	o, a, n := split(old), split(app), split(onto)
	if len(o) == 0 && piece(a, n) >= 0 {
		return app, true
	}
	at := piece(a, o)
	if len(o) == 0 {
		at = len(a) // its own come first
	}
	if at < 0 {
		return "", false
	}
	return strings.Join(slices.Concat(a[:at], n, a[at+len(o):]), sep), true
}

// piece finds the last place where a list has another one in it, -1 if none.
func piece(list, part []string) int {
	for at := len(list) - len(part); at >= 0; at-- {
		if slices.Equal(list[at:at+len(part)], part) {
			return at
		}
	}
	return -1
}

// union is the members of lists, each once, in the order in which they come.
func union(lists ...[]string) (out []string) {
	seen := map[string]bool{}
	for _, l := range lists {
		for _, s := range l {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}

// shared is those keys that an environment has.
func shared(keys []string, e environment) (out []string) {
	for _, k := range keys {
		if _, ok := e.entries[k]; ok {
			out = append(out, k)
		}
	}
	return out
}

// weave puts what only the base has behind what the base has before it.
func weave(app, base []string, result map[string]string) []string {
	out := slices.Clone(app)
	after := -1
	for _, k := range base {
		if _, ok := result[k]; !ok {
			continue
		}
		if at := slices.Index(out, k); at >= 0 {
			after = at
			continue
		}
		after++
		out = slices.Insert(out, after, k)
	}
	return out
}
