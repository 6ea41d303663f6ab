// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"maps"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// scopes are rights by resource ("repository:a/b"): sorted actions. A value is
// not changed once it is made.
type scopes map[string][]string

// scopesOf puts scopes together. oci.ErrInvalid if one could be read as
// something else by a token service.
func scopesOf(list ...Scope) (scopes, error) {
	out := scopes{}
	for _, s := range list {
		resource, actions := "repository:"+s.Repository, strings.Split(s.Actions, ",")
		if s.Repository == "" && s.Actions == "catalog" {
			resource, actions = "registry:catalog", []string{"*"}
		} else if s.Repository == "" || s.Actions == "" || strings.ContainsFunc(s.Repository+s.Actions, outlandish) {
			return nil, oci.Errorf(oci.ErrInvalid, "scope %s is not valid", oci.Quote(s.Repository+":"+s.Actions))
		}
		out[resource] = union(out[resource], actions)
	}
	return out, nil
}

func outlandish(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' || r == '"' }

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func (s scopes) plus(o scopes) scopes {
	out := maps.Clone(s)
	for r, actions := range o {
		out[r] = union(out[r], actions)
	}
	return out
}

func (s scopes) minus(o scopes) scopes {
	out := maps.Clone(s)
	for r := range o {
		delete(out, r)
	}
	return out
}

func (s scopes) covers(o scopes) bool {
	for r, actions := range o {
		have := s[r]
		for _, a := range actions {
			if !slices.Contains(have, a) && !slices.Contains(have, "*") {
				return false
			}
		}
	}
	return true
}

// list is the form that token services read.
func (s scopes) list() []string {
	out := make([]string, 0, len(s))
	for r, actions := range s {
		out = append(out, r+":"+strings.Join(actions, ","))
	}
	slices.Sort(out)
	return out
}
