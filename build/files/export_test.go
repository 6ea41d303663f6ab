// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"slices"

	"github.com/dray-tools/dray/oci"
)

var (
	BareName = bareName
	RunsOn   = runsOn
)

// A Program is what is seen of a file.
type Program struct {
	Platform, Level, Interpreter string
	Libraries                    []string
	Crates                       []string
}

// Sniff reads a file from memory; nil: no program.
func Sniff(b []byte) (*Program, error) {
	p, err := sniff(bytes.NewReader(b), int64(len(b)))
	if p == nil || err != nil {
		return nil, err
	}
	out := &Program{oci.FormatPlatform(p.platform), p.level, p.interpreter, p.libraries, nil}
	goBuild(p.goInfo) // for the fuzzer
	for _, c := range cratesOf(p.crates) {
		out.Crates = append(out.Crates, c.PURL)
	}
	return out, nil
}

// Expand is what a template means: PATH PLATFORM NAME.
func Expand(template string) (all []string, err error) {
	list, err := expand(template)
	for _, s := range list {
		all = append(all, s.path+" "+oci.FormatPlatform(s.platform)+" "+s.bare)
	}
	slices.Sort(all)
	return all, err
}
